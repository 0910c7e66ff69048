"""Chooses the adapters of the commands: databases and clock here, the broker in flags.py. Imports them when asked."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from shared.config.settings import Settings
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
