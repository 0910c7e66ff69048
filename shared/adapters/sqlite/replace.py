"""Replaces a database by a new one, atomically and never under an open connection.

A running worker keeps its connection open, and with it SQLite's shared lock on the file. So an exclusive lock on the
file proves that no process has it open, and keeps all processes out until the new file is complete.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from shared.adapters.clock import SystemClock
from shared.ports.store import DatabaseError

BUSY_TIMEOUT_S: Final = 1.0
"""Long enough to outlast a reader that has the database open only for a query."""
BESIDE_QUERIES_S: Final = 0.1
"""The same, where queries wait until the database is replaced."""
LOG_FILES: Final = ("-wal", "-shm")


class Replacement:
    """A database that will replace `path`: create it at `new`, close it, then call `put_in_place`.

    `old` is the only connection to the present database; None when there is none or SQLite cannot read it.
    """

    def __init__(self, path: Path, old: sqlite3.Connection | None) -> None:
        self.path = path
        self.new = path.with_name(f"{path.name}.rebuilding")
        self.old = old

    def put_in_place(self) -> Path | None:
        """Set the old file aside, move the new one to its place, and return the new path of the old file.

        At every moment `path` is either the old database or the new one. Both were synced before.

        Raises:
            DatabaseError: a process has created a database at `path` since.
        """
        _sync(self.new)
        stamp = SystemClock().now().strftime("%Y%m%dT%H%M%S%f")
        aside = self.path.with_name(f"{self.path.name}.{stamp}.aside")
        with _locked(Path(f"{self.path}.lock"), fcntl.LOCK_EX):
            if self.old is not None:
                self.old.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                self.old.close()  # Only here: a process that opens the database waits for the lock of this block first.
            was_there = self.path.exists()
            if was_there and self.old is None and _opens(self.path):
                raise DatabaseError(f"{self.path} was created by a worker just now; stop that worker, and try again")
            for suffix in LOG_FILES:  # SQLite would replay a remaining log on the new database.
                log = Path(f"{self.path}{suffix}")
                if log.exists():
                    log.rename(f"{aside}{suffix}")
            if was_there:
                _keep(self.path, aside)
            self.new.replace(self.path)
        _sync(self.path.parent)
        return aside if was_there else None


def replace_by(path: Path, new: Path) -> Path | None:
    """Put the closed database `new`, which is in the same directory, in the place of `path`; returns the old one's.

    Raises:
        DatabaseError: a process has one of the two open; both are as they were.
    """
    complete = _open_exclusively(new, BESIDE_QUERIES_S)
    if complete is None:
        raise DatabaseError(f"{new}: SQLite cannot read it; delete it")
    complete.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    complete.close()  # The last connection deletes the log.
    replacement = Replacement(path, _open_exclusively(path, BESIDE_QUERIES_S))
    replacement.new = new
    try:
        aside = replacement.put_in_place()
    finally:
        if replacement.old is not None:
            replacement.old.close()
    Path(f"{new}.lock").unlink(missing_ok=True)
    return aside


@contextmanager
def replacing(path: Path) -> Iterator[Replacement]:
    """A replacement for the database at `path`; the end of the block deletes it unless it was put in place.

    Raises:
        DatabaseError: a process has the database open, or another replacement is in progress in this directory.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(path.parent, fcntl.LOCK_EX | fcntl.LOCK_NB):
        replacement = Replacement(path, _open_exclusively(path))
        _remove(replacement.new)
        try:
            yield replacement
        finally:
            if replacement.old is not None:
                replacement.old.close()
            _remove(replacement.new)


def _open_exclusively(path: Path, within_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection | None:
    """A connection that locks all other processes out; None when the file does not exist or is no database."""
    if not path.is_file():
        return None
    connection = sqlite3.connect(path, isolation_level=None, timeout=within_s)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")  # The lock stays after the transaction.
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise DatabaseError(f"{path}: a process has it open; stop the workers of {path.stem} first") from error
        return None  # SQLite cannot read it; it is set aside as it is.
    return connection


def _opens(path: Path) -> bool:
    if not path.is_file():
        return False
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        try:
            return bool(connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0])
        except sqlite3.Error as error:
            return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _keep(path: Path, aside: Path) -> None:
    """Give the file a second name, so that the first stays until it is replaced; without links, move it."""
    try:
        os.link(path, aside)
    except OSError:  # A directory, or a file system without links.
        path.rename(aside)


def _remove(new: Path) -> None:
    for suffix in ("", *LOG_FILES, ".lock"):
        Path(f"{new}{suffix}").unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, how)
        except BlockingIOError as error:
            raise DatabaseError(f"{path}: another rebuild is in progress here; wait until it has ended") from error
        yield
    finally:
        os.close(descriptor)
