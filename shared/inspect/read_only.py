"""Opens the database of a context for reading while its workers run."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.adapters.sqlite import database as sqlite
from shared.adapters.sqlite.journal.tables import SCHEMA, SCHEMA_VERSION
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.ports.store import DatabaseError


@contextmanager
def read_only(path: Path, context: str) -> Iterator[sqlite3.Connection]:
    """Open a database; raises DatabaseError, as its workers do, when it is missing or belongs to another context."""
    with sqlite.reading(path, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
        owner = SqliteTransaction(connection).meta("context") or context
        if owner != context:
            raise DatabaseError(
                f"{path}: belongs to {owner}, not to {context}; set CHORUS_DATA_DIR to another directory"
            )
        yield connection
