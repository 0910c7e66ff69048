"""The tables of a group's database: those of every group, and those that follow from what the group declares.

The tables of a group are made again, empty, when its shape is another. `n` numbers rows in the order of the stream. So
a rebuild gives each row the same number, and a page can go on behind one.
"""

import sqlite3
from typing import Final

from shared.adapters.sqlite.views.shape import PREFIXES, shape_of
from shared.ports.views import Predecessor
from shared.readside.group import Group
from shared.readside.views import Table

SCHEMA_VERSION: Final = 1

SCHEMA: Final = """
CREATE TABLE view_meta (
  key TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE known (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  sequence INTEGER NOT NULL, message_id TEXT NOT NULL, at_ns INTEGER NOT NULL, created TEXT NOT NULL
) STRICT;
INSERT INTO known VALUES (1, 0, '', 0, '');
CREATE TABLE versions (
  aggregate TEXT PRIMARY KEY, version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE poison (
  sequence INTEGER PRIMARY KEY, subject TEXT NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE TABLE flow_state (
  place TEXT NOT NULL, key TEXT NOT NULL, due INTEGER, entry BLOB NOT NULL, PRIMARY KEY (place, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX flow_due ON flow_state (place, due, key) WHERE due IS NOT NULL;
CREATE TABLE flow_counts (
  place TEXT NOT NULL, what TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (place, what)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
  n INTEGER PRIMARY KEY, event_id TEXT NOT NULL UNIQUE, aggregate TEXT NOT NULL, version INTEGER NOT NULL,
  subject TEXT NOT NULL, type TEXT NOT NULL, headers TEXT NOT NULL, body TEXT NOT NULL, published_seq INTEGER
) STRICT;
CREATE INDEX outbox_unpublished ON outbox (n) WHERE published_seq IS NULL
"""
"""`known`: the position. `versions`: dedup, as the last version folded of each aggregate. `poison`: events that could
not be folded. `flow_state`, `flow_counts`: the topologies. `outbox`: the events of the group, until EVENTS has them and
after."""

_SHAPE: Final = "shape"
_TABLES: Final = "tables"
_GENERATION: Final = "generation"
_PREDECESSOR: Final = "predecessor"
_TEXT: Final = "_text"


def make_tables(connection: sqlite3.Connection, group: Group) -> bool:
    """Make the group's tables, unless they are there; returns whether older ones were dropped."""
    found = _meta(connection, _SHAPE)
    shape = shape_of(group)
    if found == shape:
        return False
    for name in _made(connection):
        connection.execute(f"DROP TABLE IF EXISTS {name}")
    _forget_position(connection)
    made = []
    for table in group.all_tables:
        for name, statements in _statements(table).items():
            made.append(name)
            for statement in statements:
                connection.execute(statement)
    set_meta(connection, _TABLES, " ".join(made))
    set_meta(connection, _SHAPE, shape)
    return found is not None


def forget(connection: sqlite3.Connection) -> None:
    """Delete all rows, so that the group folds EVENTS from its beginning, and begin a new generation."""
    for name in _made(connection):
        if name.endswith(_TEXT):
            connection.execute(f"INSERT INTO {name} ({name}) VALUES ('delete-all')")  # noqa: S608 - our own name.
        else:
            connection.execute(f"DELETE FROM {name}")  # noqa: S608 - our own name.
    _forget_position(connection)
    set_meta(connection, _GENERATION, str(generation_number(connection) + 1))


def generation(connection: sqlite3.Connection, schema: str = "main") -> str:
    """The shape of the tables, how often they were forgotten or replaced, and the stream that they follow from."""
    (created,) = connection.execute(f"SELECT created FROM {schema}.known").fetchone()  # noqa: S608 - our own name.
    return f"{_meta(connection, _SHAPE, schema)}/{generation_number(connection, schema)}/{created}"


def generation_number(connection: sqlite3.Connection, schema: str = "main") -> int:
    """How often the tables were forgotten or replaced."""
    return int(_meta(connection, _GENERATION, schema) or 0)


def shape_in(connection: sqlite3.Connection) -> str | None:
    """The shape of the tables that are there."""
    return _meta(connection, _SHAPE)


def follow(connection: sqlite3.Connection, number: int, predecessor: Predecessor) -> None:
    """Begin generation `number`, which takes the place of `predecessor`."""
    set_meta(connection, _GENERATION, str(number))
    set_meta(connection, _PREDECESSOR, f"{predecessor.sequence} {predecessor.generation}")


def predecessor(connection: sqlite3.Connection) -> Predecessor | None:
    """The tables that these ones have replaced, if any."""
    found = _meta(connection, _PREDECESSOR)
    if found is None:
        return None
    sequence, _, named = found.partition(" ")
    return Predecessor(int(sequence), named)


def table_name(table: str) -> str:
    """The table of rows; the prefix keeps it apart from the tables of every group."""
    return f"v_{table}"


def list_name(table: str, column: str) -> str:
    """The table of a column with several values for a row."""
    return f"v_{table}_by_{column}"


def text_name(table: str) -> str:
    """The table of the search."""
    return f"v_{table}{_TEXT}"


def set_meta(connection: sqlite3.Connection, key: str, value: str) -> None:
    """Store a fact about the database."""
    connection.execute("INSERT OR REPLACE INTO view_meta VALUES (?, ?)", (key, value))


def _meta(connection: sqlite3.Connection, key: str, schema: str = "main") -> str | None:
    query = f"SELECT value FROM {schema}.view_meta WHERE key = ?"  # noqa: S608 - our own name.
    found = connection.execute(query, (key,)).fetchone()
    return None if found is None else str(found[0])


def _made(connection: sqlite3.Connection) -> list[str]:
    return (_meta(connection, _TABLES) or "").split()


def _forget_position(connection: sqlite3.Connection) -> None:
    is_forwarding = connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'forwards'").fetchone() is not None
    # By the versions it knows which events it has taken, so that it sends none again from a stream that was restored.
    kept = ("versions",) if is_forwarding else ()
    for name in ("versions", "poison", "flow_state", "flow_counts", "outbox"):
        if name not in kept:
            connection.execute(f"DELETE FROM {name}")  # noqa: S608 - our own name.
    connection.execute("UPDATE known SET sequence = 0, message_id = '', at_ns = 0, created = ''")
    connection.execute("DELETE FROM view_meta WHERE key = ?", (_PREDECESSOR,))


def _statements(table: Table) -> dict[str, list[str]]:
    """The statements that make each table; the names are those of Python fields, so no text of a user is in them."""
    rows = table_name(table.name)
    columns = "".join(f", {column} TEXT" for column in table.columns)
    made = {
        rows: [
            f"CREATE TABLE {rows} (n INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, sequence INTEGER NOT NULL,"
            f" row TEXT NOT NULL{columns}) STRICT",
            *(f"CREATE INDEX {rows}_{column} ON {rows} ({column}, n)" for column in table.columns),
            *([f"CREATE INDEX {rows}_sequence ON {rows} (sequence, key)"] if table.bucket else []),
        ]
    }
    for column in table.lists:
        name = list_name(table.name, column)
        made[name] = [
            f"CREATE TABLE {name} (value TEXT NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (value, n))"
            " STRICT, WITHOUT ROWID"
        ]
    if table.text is not None:
        made[text_name(table.name)] = [
            f"CREATE VIRTUAL TABLE {text_name(table.name)}"
            f" USING fts5(text, content='', detail=none, prefix='{PREFIXES}')"
        ]
    return made
