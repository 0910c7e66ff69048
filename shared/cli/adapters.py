"""Chooses the adapters of the commands: databases and clock here, the broker in flags.py. Imports them when asked."""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from shared.adapters.jetstream import JetStream as JetStream
    from shared.adapters.sqlite.views.second import SqliteSecond as SqliteSecond
    from shared.config.connection import ConnectionOptions
    from shared.config.settings import Settings
    from shared.inspect.saga_reader import SagaReader
    from shared.ports.clock import Clock
    from shared.ports.databases import Databases
    from shared.readside.group import Group, ReadSide
    from shared.repair.audit import Proving


def databases(settings: "Settings") -> "Databases":
    """The databases in the data directory."""
    from shared.adapters.sqlite.journal.databases import SqliteDatabases

    return SqliteDatabases(settings.data_dir)


def set_group_aside(settings: "Settings", place: str) -> "Path | None":
    """Rename the database of a group; returns its new path. Raises DatabaseError while a process runs the group."""
    from shared.adapters.sqlite.views.store import set_aside

    return set_aside(settings.data_dir / f"{place}.db")


def second_database(settings: "Settings", place: str, into: "Path", group: "Group") -> "SqliteSecond":
    """A second database of a group, in the directory `into`."""
    from shared.adapters.sqlite.views.second import SqliteSecond

    return SqliteSecond(settings.data_dir / f"{place}.db", into, group)


@contextmanager
def outboxes(settings: "Settings", sides: "Mapping[str, ReadSide]") -> "Iterator[dict[str, list[Proving] | None]]":
    """Look-ups of the events that the groups of read sides have said; None for a side whose databases are elsewhere."""
    from shared.adapters.sqlite.views.store import reading_outbox
    from shared.readside.group import place_of

    with ExitStack() as stack:
        found: dict[str, list[Proving] | None] = {}
        for side in sides.values():
            groups = [group.name for group in side.groups if group.says]
            files = [settings.data_dir / f"{place_of(side.name, group)}.db" for group in groups]
            are_here = all(file.exists() for file in files)
            found[side.name] = [stack.enter_context(reading_outbox(file)) for file in files] if are_here else None
        yield found


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
