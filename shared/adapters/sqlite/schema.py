"""Creates, migrates or checks the schema of a database; a refusal names the remedy."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from shared.ports.store import DatabaseError

APPLICATION_ID = 0x43486F72
"""`CHor` in the file's header marks a database of Chorus."""

NO_MIGRATIONS: Final[Mapping[int, str]] = MappingProxyType({})


def prepare(
    connection: sqlite3.Connection, path: Path, schema: str, version: int, migrations: Mapping[int, str]
) -> None:
    """Create or migrate the tables, and set up durable commits; raises DatabaseError."""
    is_new = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if not is_new or _pragma(connection, "user_version") > 0:
        _migrate(connection, path, schema, version, migrations)
    if _pragma(connection, "journal_mode = WAL") != "wal":
        raise DatabaseError(f"{path}: the file system does not support SQLite's WAL; use a local disk")
    connection.execute("PRAGMA synchronous = FULL")
    if _pragma(connection, "synchronous") != 2:
        raise DatabaseError(f"{path}: synchronous=FULL was not accepted, so a commit could be lost")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("SELECT count(*) FROM sqlite_schema")  # Creates the log now, if the file had another mode.
    if is_new:
        connection.executescript(
            f"BEGIN IMMEDIATE; {schema};"
            f" PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}; COMMIT"
        )


def _migrate(
    connection: sqlite3.Connection, path: Path, schema: str, version: int, migrations: Mapping[int, str]
) -> None:
    """Check an existing file and migrate an older one in one transaction."""
    found = _pragma(connection, "user_version")
    steps = [migrations[older] for older in range(found, version) if older in migrations]
    if found >= version or len(steps) < version - found:
        check(connection, path, schema, version, remedy=f"move it away and run chorus rebuild {path.stem}")
        return
    _check_owner(connection, path)
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {'; '.join(steps)}; PRAGMA user_version = {version}")
        check(connection, path, schema, version, remedy="")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _check_owner(connection: sqlite3.Connection, path: Path) -> None:
    if _pragma(connection, "application_id") != APPLICATION_ID:
        raise DatabaseError(f"{path}: not a Chorus database; move it away, or set CHORUS_DATA_DIR to another directory")


def check(connection: sqlite3.Connection, path: Path, schema: str, version: int, *, remedy: str) -> None:
    """Check application id, version and tables. Databases of other kinds have the same id and other tables."""
    _check_owner(connection, path)
    found, tables = _pragma(connection, "user_version"), _tables(connection)
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(schema)
        wanted = _tables(empty)
    if not wanted & tables:
        raise DatabaseError(_text_for_another_context(path, wanted))
    if found > version:
        raise DatabaseError(f"{path}: written by a newer Chorus (schema {found}, this one knows {version}); upgrade")
    if found < version:
        raise DatabaseError(f"{path}: schema {found} is older than {version}; {remedy}")
    if not wanted <= tables:
        raise DatabaseError(_text_for_another_context(path, wanted - tables))


def _text_for_another_context(path: Path, lacking: set[str]) -> str:
    return (
        f"{path}: another context's database, without a table {min(lacking)}; "
        "move it away, or set CHORUS_DATA_DIR to another directory"
    )


def _pragma(connection: sqlite3.Connection, name: str) -> Any:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
