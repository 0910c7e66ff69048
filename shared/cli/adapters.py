"""Chooses the adapters of the commands: databases and clock here, the broker in flags.py. Imports them when asked."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from shared.adapters.jetstream import JetStream as JetStream
    from shared.config.connection import ConnectionOptions
    from shared.config.settings import Settings
    from shared.inspect.saga_reader import SagaReader
    from shared.ports.clock import Clock
    from shared.ports.databases import Databases


def databases(settings: "Settings") -> "Databases":
    """The databases in the data directory."""
    from shared.adapters.sqlite.journal.databases import SqliteDatabases

    return SqliteDatabases(settings.data_dir)


def set_group_aside(settings: "Settings", place: str) -> "Path | None":
    """Rename the database of a group; returns its new path. Raises DatabaseError while a process is the group."""
    from shared.adapters.sqlite.views.store import set_aside

    return set_aside(settings.data_dir / f"{place}.db")


def clock() -> "Clock":
    """The system's clock."""
    from shared.adapters.clock import SystemClock

    return SystemClock()


def saga_reader(settings: "Settings | None" = None) -> "SagaReader":
    """A reader of sagas with these settings, or else with those of this environment."""
    from shared import catalog
    from shared.inspect.saga_reader import SagaReader

    settings = settings or catalog.read_settings(os.environ)
    return SagaReader(settings, databases(settings), clock())


@asynccontextmanager
async def connected_to(options: "ConnectionOptions", purpose: str) -> "AsyncIterator[JetStream]":
    """Connect with options that are known already."""
    from shared.adapters.jetstream import connect

    broker = await connect(options, name=f"chorus {purpose}")
    try:
        yield broker
    finally:
        await broker.close()
