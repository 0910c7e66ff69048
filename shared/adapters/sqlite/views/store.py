"""The ViewStore port on SQLite, and the lock by which one process at a time runs a group."""

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

import anyio
import structlog

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.proofs import proofs_in
from shared.adapters.sqlite.reading import reading
from shared.adapters.sqlite.replace import LOG_FILES, replace_by
from shared.adapters.sqlite.views.forwards import make_forwards
from shared.adapters.sqlite.views.gate import Gate
from shared.adapters.sqlite.views.reader import SqliteViewReader
from shared.adapters.sqlite.views.shape import shape_of
from shared.adapters.sqlite.views.tables import SCHEMA, SCHEMA_VERSION, make_tables, shape_in
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction, known
from shared.ports.rows import Proof
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.ports.views import ViewReader, ViewTransaction
from shared.readside.group import Group

T = TypeVar("T")

CACHE_KIB: Final = 32_768
"""A catch-up changes rows all over the file; with SQLite's default of 2 MiB it would read most pages again."""

BUSY_S: Final = 0.25

_log = structlog.get_logger("chorus.views")


class SqliteViewStore:
    """The database of one group in one SQLite file."""

    def __init__(self, path: Path, database: Database, group: Group) -> None:
        self._path = path
        self._database = database
        self._group = group
        self._gate = Gate()
        self._refused: tuple[int, int] | None = None
        """The successor that does not fit this code, once the log has reported it."""

    @classmethod
    async def open(cls, path: Path, group: Group) -> "SqliteViewStore":
        """Open the file or create it; tables of another shape or version are made again and folded from EVENTS.

        A successor of this shape takes its place first.

        Raises:
            DatabaseBusyError: it is locked, or the disk is full.
            DatabaseError: it belongs to another program, is of a newer Chorus, or is corrupt.
        """
        successor = successor_of(path)
        if successor.exists() and _fits(successor, group):
            try:
                replace_by(path, successor)
                _log.info("the second read model is the live one", database=str(path))
            except DatabaseError as error:  # The old one has a reader; the process takes the new one later.
                _log.warning("the second read model waits", reason=str(error))
        return cls(path, await _open(path, group), group)

    async def transact(self, work: Callable[[ViewTransaction], T]) -> T:
        return await self._database.transact(lambda connection: work(SqliteViewTransaction(connection)))

    async def read_aside(self, work: Callable[[ViewReader], T]) -> T:
        async with self._gate.passed():
            return await self._database.read_aside(lambda connection: _in_one_snapshot(connection, self._group, work))

    def has_successor(self, created: str) -> bool:
        waiting = successor_of(self._path)
        try:
            found = waiting.stat()
        except OSError:
            return False
        if self._refused == (found.st_ino, found.st_mtime_ns):
            return False
        if not _fits(waiting, self._group, created):
            self._refused = (found.st_ino, found.st_mtime_ns)
            _log.warning(
                "the second read model is of other code or events; start a worker with that code, or delete it",
                database=str(waiting),
            )
            return False
        return True

    async def open_successor(self) -> "SqliteViewStore":
        path = successor_of(self._path)
        return SqliteViewStore(path, await _open(path, self._group), self._group)

    async def succeed(self) -> None:
        with anyio.CancelScope(shield=True):
            async with self._gate.closed():
                await self._database.close()
                try:
                    replace_by(self._path, successor_of(self._path))
                finally:
                    self._database = await self._open_again()

    async def close(self) -> None:
        await self._database.close()

    async def _open_again(self) -> Database:
        while True:
            try:
                return await _open(self._path, self._group)
            except DatabaseBusyError as error:
                _log.warning("the database is busy", reason=str(error))
                await anyio.sleep(BUSY_S)


async def _open(path: Path, group: Group) -> Database:
    lost = "delete what is left of it: the group folds it again from EVENTS"
    database = await Database.open(path, schema=SCHEMA, version=SCHEMA_VERSION, lost=lost)
    try:
        await database.read(lambda connection: connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}"))
        if group.forwards is not None:
            await database.transact(make_forwards)
        if await database.transact(lambda connection: make_tables(connection, group)):
            _log.warning("the tables have another shape or version, and are folded again", database=str(path))
    except BaseException:
        await database.close()
        raise
    return database


def successor_of(path: Path) -> Path:
    """The path of the successor: the second database that waits to replace this one."""
    return path.with_name(f"{path.name}.next")


def remove_with_log(path: Path) -> None:
    """Delete a database that nobody has open. A log that stays would be replayed on another file of its name."""
    for ending in ("", *LOG_FILES):
        Path(f"{path}{ending}").unlink(missing_ok=True)


def _fits(successor: Path, group: Group, created: str | None = None) -> bool:
    """Whether a successor has the shape of this group, and follows from the EVENTS that was created then."""
    try:
        with reading(successor, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
            found = known(connection)
            is_of_events = created in (None, found.created) or not found.sequence
            return shape_in(connection) == shape_of(group) and is_of_events
    except (DatabaseError, DatabaseBusyError) as error:
        _log.warning("the second read model cannot be read", reason=str(error))
        return False


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
    """Rename the database of a group, so that it is folded again; returns its new path, or None when there is none.

    Raises:
        DatabaseError: a process runs the group.
    """
    if not path.exists():
        return None
    with only_one(path) as alone:
        if not alone:
            raise DatabaseError(f"{path}: a process has it open; stop the worker of {path.stem} first")
        remove_with_log(successor_of(path))
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
