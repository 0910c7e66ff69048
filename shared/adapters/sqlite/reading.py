"""Opens a database file for reading while another process writes it; needs no event loop, and no write lock."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from shared.adapters.sqlite.errors import translated
from shared.adapters.sqlite.schema import check
from shared.ports.store import DatabaseError

LOCKED_AT_MOST_S: Final = 5.0


def open_read_only(path: Path, *, timeout_s: float = LOCKED_AT_MOST_S) -> sqlite3.Connection:
    """Open a second connection that only reads; raises DatabaseError when there is no such file."""
    if not path.is_file():
        raise DatabaseError(f"{path}: no such database; start the worker first, or set CHORUS_DATA_DIR")
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=timeout_s, isolation_level=None)


@contextmanager
def reading(path: Path, *, schema: str, version: int) -> Iterator[sqlite3.Connection]:
    """Read while a worker runs; raises DatabaseError when the file is of another program, newer or corrupt."""
    with closing(open_read_only(path)) as connection:
        try:
            check(connection, path, schema, version, remedy="start its worker, which migrates it")
            yield connection
        except sqlite3.Error as error:
            known = translated(error, path)
            raise known if known is not error else DatabaseError(f"{path}: {error}") from error
