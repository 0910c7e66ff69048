"""One SQLite file: durable, fair between processes, and one thread hop per transaction.

A transaction is one function that the connection runs as a whole, from BEGIN IMMEDIATE to COMMIT (connection.py).
"""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import anyio

from shared.adapters.sqlite.connection import Connection, open_connection
from shared.adapters.sqlite.errors import translated
from shared.adapters.sqlite.files import DatabaseFiles
from shared.adapters.sqlite.reading import open_read_only
from shared.adapters.sqlite.schema import NO_MIGRATIONS, prepare
from shared.ports.store import DatabaseBusyError, DatabaseError

T = TypeVar("T")

BUSY_TIMEOUT_MS = 5_000
LOOKED_WITHIN_S = 0.2
"""`read_aside` waits at most this long for a database that is locked as a whole."""
RESTORE_FROM_BACKUP = "restore it from a backup"


class Database:
    """This process's only read-write connection to a file. All writes go through `transact`."""

    def __init__(self, connection: Connection, lock: int, path: Path, files: DatabaseFiles) -> None:
        self._connection = connection
        self._lock = lock
        self._files = files
        self.path = path
        self._second: Connection | None = None
        self._opening = anyio.Lock()
        self.waits_for_lock = False
        """Whether a transaction waits for the file lock, which another process has."""

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        schema: str,
        version: int,
        migrations: Mapping[int, str] = NO_MIGRATIONS,
        lost: str = RESTORE_FROM_BACKUP,
        busy_timeout_ms: int = BUSY_TIMEOUT_MS,
    ) -> "Database":
        """Open the file, or create it with `schema` for its owner only (0600).

        An older file is migrated in one transaction: `migrations[v]` is the SQL from version v to v + 1. `lost` is the
        remedy that an operator reads when the file is removed while it is open. A transaction waits `busy_timeout_ms`
        for a program that does not take the file lock.

        Raises:
            DatabaseBusyError: it is locked, or the disk is full.
            DatabaseError: it belongs to another program, is of a newer Chorus, or is corrupt.
        """
        previous_umask = os.umask(0o077)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                files = DatabaseFiles(path, lost=lost)
                connection = await open_connection(
                    lambda: _connect(path, lock, files, schema, version, migrations, busy_timeout_ms)
                )
            except BaseException:
                os.close(lock)
                raise
        except sqlite3.Error as error:
            raise translated(error, path) from error
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DatabaseBusyError(f"{path}: {error.strerror}") from error
            raise DatabaseError(f"{path}: {error.strerror}; set CHORUS_DATA_DIR to another directory") from error
        finally:
            os.umask(previous_umask)
        return cls(connection, lock, path, files)

    async def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one write transaction: commit when it returns, roll back when it raises.

        The file lock queues the processes of a context fairly; SQLite's own lock makes them poll.

        Raises:
            DatabaseBusyError: a retry may help.
            DatabaseError: it cannot, for example because the file was removed or replaced.
        """
        try:
            return await self._connection.run(
                lambda connection: _transaction(connection, self._acquire_lock(), self._files, work)
            )
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which only reads; an idle process detects here that its file was removed or replaced."""

        def checked(connection: sqlite3.Connection) -> T:
            self._files.check(connection)
            return work(connection)

        try:
            return await self._connection.run(checked)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    async def read_aside(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` on a second connection, which only reads, is opened when first needed, and waits for no writer."""
        try:
            async with self._opening:
                if self._second is None:
                    self._second = await open_connection(lambda: open_read_only(self.path, timeout_s=LOOKED_WITHIN_S))
            return await self._second.run(work)
        except sqlite3.Error as error:
            raise translated(error, self.path) from error

    def _acquire_lock(self) -> int:
        """Acquire the file lock; `_transaction` releases it."""
        self.waits_for_lock = True
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        finally:
            self.waits_for_lock = False
        return self._lock

    async def close(self) -> None:
        """Finish the queued work and close."""
        if self._second is not None:
            await self._second.close()
        await self._connection.close()
        os.close(self._lock)


def _connect(
    path: Path,
    lock: int,
    files: DatabaseFiles,
    schema: str,
    version: int,
    migrations: Mapping[int, str],
    busy_timeout_ms: int,
) -> sqlite3.Connection:
    if path.is_dir():
        raise DatabaseError(f"{path}: a directory; move it away, or set CHORUS_DATA_DIR to another directory")
    fcntl.flock(lock, fcntl.LOCK_EX)  # Before the file is opened: a rebuild that ends now would leave us the old one.
    try:
        connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
        try:
            connection.execute(f"PRAGMA busy_timeout = {busy_timeout_ms}")
            prepare(connection, path, schema, version, migrations)
            files.remember()
        except BaseException:
            connection.close()  # A worker retries this while the database is locked.
            raise
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
    return connection


def _transaction(
    connection: sqlite3.Connection, lock: int, files: DatabaseFiles, work: Callable[[sqlite3.Connection], T]
) -> T:
    """Run `work` in a transaction under the acquired file lock, and release the lock."""
    try:
        files.check(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(connection)
            files.check_database(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)
