"""Detects that the files of an open database were removed or replaced.

SQLite does not detect it: it continues to write into a file without a name, and all those commits are lost when the
process ends. Replacing `-wal` is as bad as replacing the database, because only `-wal` has the newest commits.
"""

import os
import sqlite3
from pathlib import Path

from shared.ports.store import DatabaseError

Identity = tuple[int, int] | None
"""Device and inode; None when there is no such file."""

PARTS = ("", "-wal", "-shm")
"""The suffixes of the three files. SQLite keeps all three while a connection is open."""


class DatabaseFiles:
    """The files of one connection, as `remember` found them; `lost` is the remedy for a lost file."""

    def __init__(self, path: Path, *, lost: str) -> None:
        self._lost = lost
        self._opened: dict[str, Identity] = {}
        self._database = str(path)

    def remember(self) -> None:
        """Call when the connection was opened, under the file lock that a replacement needs as well.

        Otherwise these may be other files than those that the connection has open.
        """
        self._opened = {f"{self._database}{part}": _identity(f"{self._database}{part}") for part in PARTS}

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise DatabaseError when a file was removed or replaced. Runs in the connection's thread and takes 10 us.

        It first moves the commits from `-wal` into the database file that was opened. So that file is complete wherever
        it is now, and the remaining `-wal` has nothing that SQLite could replay on another database.
        """
        for name, opened in self._opened.items():
            if _identity(name) != opened:
                self._give_up(connection, name)

    def check_database(self, connection: sqlite3.Connection) -> None:
        """Like `check`, for the database file alone: cheap enough to repeat it just before a commit."""
        if _identity(self._database) != self._opened[self._database]:
            self._give_up(connection, self._database)

    def _give_up(self, connection: sqlite3.Connection, name: str) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if _identity(self._database + "-wal") in (None, self._opened[self._database + "-wal"]):
            _move_commits_from_wal(connection)
        if name != self._database:
            remedy = f"all commits are in {Path(self._database).name}; start the process again"
        elif _identity(name) is None:
            remedy = f"put it back, or, if it is lost, {self._lost}; then start the process again"
        else:
            remedy = (
                "move the other file away and put back the one that was there, or, if that is lost,"
                f" {self._lost}; then start the process again"
            )
        happened = "removed" if _identity(name) is None else "replaced by another file"
        raise DatabaseError(f"{name}: {happened} while this process had it open, so it stops; {remedy}")


def _move_commits_from_wal(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.OperationalError, as for a locked database, while a reader still needs `-wal`."""
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        error = sqlite3.OperationalError("a reader keeps the write-ahead log, which has to be emptied first")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error


def _identity(name: str) -> Identity:
    try:
        found = os.stat(name)
    except OSError:
        return None
    return found.st_dev, found.st_ino
