"""The ViewStore port on SQLite, and the lock by which one process at a time is a group."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import structlog

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.proofs import proofs_in
from shared.adapters.sqlite.reading import reading
from shared.adapters.sqlite.replace import LOG_FILES
from shared.adapters.sqlite.views.reader import SqliteViewReader
from shared.adapters.sqlite.views.tables import SCHEMA, SCHEMA_VERSION, make_tables
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.ports.rows import Proof
from shared.ports.store import DatabaseError
from shared.ports.views import ViewReader, ViewTransaction
from shared.readside import Group

T = TypeVar("T")

CACHE_KIB: Final = 32_768
"""A catch-up changes rows all over the file; with SQLite's default of 2 MiB it would read most pages again."""

_log = structlog.get_logger("chorus.views")


class SqliteViewStore:
    """The database of one group in one SQLite file."""

    def __init__(self, database: Database, group: Group) -> None:
        self._database = database
        self._group = group

    @classmethod
    async def open(cls, path: Path, group: Group) -> "SqliteViewStore":
        """Open the file or create it; tables of another shape or version are made again and folded from EVENTS.

        Raises:
            DatabaseBusyError: it is locked, or the disk is full.
            DatabaseError: it belongs to another program, is of a newer Chorus, or is corrupt.
        """
        lost = "delete what is left of it: the group folds it anew from EVENTS"
        database = await Database.open(path, schema=SCHEMA, version=SCHEMA_VERSION, lost=lost)
        try:
            await database.read(lambda connection: connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}"))
            if await database.transact(lambda connection: make_tables(connection, group)):
                _log.warning("the tables have another shape or version, and are folded anew", database=str(path))
        except BaseException:
            await database.close()
            raise
        return cls(database, group)

    async def transact(self, work: Callable[[ViewTransaction], T]) -> T:
        return await self._database.transact(lambda connection: work(SqliteViewTransaction(connection)))

    async def look(self, work: Callable[[ViewReader], T]) -> T:
        return await self._database.look(lambda connection: _in_one_snapshot(connection, self._group, work))

    async def close(self) -> None:
        await self._database.close()


def _in_one_snapshot(connection: sqlite3.Connection, group: Group, work: Callable[[ViewReader], T]) -> T:
    connection.execute("BEGIN")
    try:
        return work(SqliteViewReader(connection, group))
    finally:
        connection.execute("COMMIT")


@contextmanager
def reading_outbox(path: Path) -> Iterator[Callable[[Sequence[str]], Mapping[str, Proof]]]:
    """Look up events of a group by their ids while its process runs; raises DatabaseError."""
    with reading(path, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
        yield lambda event_ids: proofs_in(connection, "outbox", event_ids)


def set_aside(path: Path) -> Path | None:
    """Rename the database of a group, so that it is folded anew; returns its new path, or None when there is none.

    Raises:
        DatabaseError: a process is the group.
    """
    if not path.exists():
        return None
    with only_one(path) as alone:
        if not alone:
            raise DatabaseError(f"{path}: a process has it open; stop the worker of {path.stem} first")
        aside = path.with_name(f"{path.name}.{SystemClock().now():%Y%m%dT%H%M%S%f}.aside")
        for ending in LOG_FILES:
            log = Path(f"{path}{ending}")
            if log.exists():
                log.rename(f"{aside}{ending}")
        path.rename(aside)
    return aside


@contextmanager
def only_one(path: Path) -> Iterator[bool]:
    """Whether this process is the only one of the group while the block runs; a dead one's lock is free."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(f"{path}.owner", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(lock)
