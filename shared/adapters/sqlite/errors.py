"""Translates SQLite's errors into those of the Store port."""

import sqlite3
from pathlib import Path
from typing import Final

from shared.ports.store import DatabaseBusyError, DatabaseError

_TRANSIENT: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_CANTOPEN,
}


def translated(error: sqlite3.Error, path: Path) -> Exception:
    """The error of the Store port; an error that is none of the database's stays what it is."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None and code & 0xFF in _TRANSIENT:
        return DatabaseBusyError(f"{path}: {error}")
    if code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return DatabaseError(f"{path}: {error}; move it away and run chorus rebuild {path.stem}")
    return error
