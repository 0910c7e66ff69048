"""A context's database, read beside its workers."""

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
    """Read a database; raises DatabaseError, as its workers do, when it is not there or not this context's."""
    with sqlite.reading(path, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
        owner = SqliteTransaction(connection).meta("context") or context
        if owner != context:
            raise DatabaseError(
                f"{path}: belongs to {owner}, not to {context}; set CHORUS_DATA_DIR to another directory"
            )
        yield connection
