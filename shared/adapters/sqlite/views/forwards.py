"""The events that a group has to forward, in its database; and what an operator sees and decides of them.

The table is no part of the read model: no replay and no rebuild makes it again, because EVENTS does not tell what was
delivered.
"""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from shared.adapters.sqlite.journal.statements import json_text
from shared.adapters.sqlite.reading import reading
from shared.adapters.sqlite.views.tables import SCHEMA, SCHEMA_VERSION
from shared.ports.forwards import ForwardRow, ParkedForward

TABLE: Final = "forwards"

STATEMENTS: Final = (
    """
CREATE TABLE IF NOT EXISTS forwards (
  n INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL, event_id TEXT NOT NULL, sequence INTEGER NOT NULL,
  context TEXT NOT NULL, type TEXT NOT NULL, at TEXT NOT NULL, headers TEXT NOT NULL, body BLOB NOT NULL,
  reason TEXT NOT NULL DEFAULT '', since TEXT NOT NULL DEFAULT '', verdict TEXT NOT NULL DEFAULT ''
) STRICT""",
    "CREATE INDEX IF NOT EXISTS forwards_parked ON forwards (key) WHERE reason <> ''",
    "CREATE INDEX IF NOT EXISTS forwards_of_key ON forwards (key, n)",
    """
CREATE TABLE IF NOT EXISTS forwards_skipped (
  event_id TEXT PRIMARY KEY, key TEXT NOT NULL, sequence INTEGER NOT NULL, reason TEXT NOT NULL, who TEXT NOT NULL,
  why TEXT NOT NULL
) STRICT, WITHOUT ROWID""",
    """
CREATE TABLE IF NOT EXISTS forwards_verdicts (
  n INTEGER PRIMARY KEY, who TEXT NOT NULL, why TEXT NOT NULL
) STRICT""",
)
"""AUTOINCREMENT, because the number of a delivered event must not be that of a later one."""

_COLUMNS: Final = "n, key, event_id, sequence, context, type, at, headers, body"
_OF_NUMBERS: Final = "n IN (SELECT value FROM json_each(?))"


class SqliteForwardRows:
    """The rows in one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def add(self, rows: Sequence[ForwardRow]) -> None:
        self._connection.executemany(
            "INSERT INTO forwards (key, event_id, sequence, context, type, at, headers, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (one.key, one.event_id, one.sequence, one.context, one.type, one.at, json_text(one.headers), one.body)
                for one in rows
            ],
        )

    def delete(self, numbers: Sequence[int]) -> None:
        query = f"DELETE FROM forwards WHERE {_OF_NUMBERS}"  # noqa: S608 - our own text.
        self._connection.execute(query, (json_text(list(numbers)),))

    def park(self, reasons: Sequence[tuple[int, str]], *, since: str) -> None:
        self._connection.executemany(
            "UPDATE forwards SET reason = ?, since = ?, verdict = '' WHERE n = ?",
            [(reason, since, n) for n, reason in reasons],
        )

    def release(self) -> list[int]:
        run = self._connection.execute
        query = "SELECT n, key, verdict FROM forwards WHERE reason <> '' AND verdict <> '' ORDER BY n"
        judged = run(query).fetchall()
        freed = []
        for n, key, verdict in judged:
            if verdict == "skip":
                run(
                    "INSERT OR REPLACE INTO forwards_skipped SELECT event_id, key, sequence, reason, who, why"
                    " FROM forwards JOIN forwards_verdicts USING (n) WHERE n = ?",
                    (n,),
                )
                run("DELETE FROM forwards WHERE n = ?", (n,))
            else:  # The verdict stays until it is delivered, or parked again.
                run("UPDATE forwards SET reason = '', since = '' WHERE n = ?", (n,))
            run("DELETE FROM forwards_verdicts WHERE n = ?", (n,))
            (first,) = run("SELECT min(n) FROM forwards WHERE key = ?", (key,)).fetchone()
            if first is not None:
                freed.append(first)
        return freed

    def waiting(self, after: int, limit: int) -> list[ForwardRow]:
        query = (
            f"SELECT {_COLUMNS} FROM forwards WHERE n > ?"  # noqa: S608 - our own names.
            " AND key NOT IN (SELECT key FROM forwards WHERE reason <> '') ORDER BY n LIMIT ?"
        )
        return [_row(*found) for found in self._connection.execute(query, (after, limit))]

    def parked(self) -> int:
        number: int = self._connection.execute("SELECT count(*) FROM forwards WHERE reason <> ''").fetchone()[0]
        return number


def make_forwards(connection: sqlite3.Connection) -> None:
    """Make the tables, unless they are there."""
    for statement in STATEMENTS:
        connection.execute(statement)


def parked_forwards(path: Path, event_ids: Sequence[str] | None = None) -> list[ParkedForward]:
    """The events that cannot be delivered, beside the group; with ids, these events whether parked or not."""
    chosen = "reason <> ''" if event_ids is None else "event_id IN (SELECT value FROM json_each(?))"
    query = (
        f"SELECT {_COLUMNS}, reason, since, verdict,"  # noqa: S608 - our own names.
        " (SELECT count(*) FROM forwards AS later WHERE later.key = parked.key AND later.n > parked.n)"
        f" FROM forwards AS parked WHERE {chosen} ORDER BY n"
    )
    with reading(path, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
        if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (TABLE,)).fetchone() is None:
            return []
        values = () if event_ids is None else (json_text(list(event_ids)),)
        found = connection.execute(query, values).fetchall()
    return [ParkedForward(path.stem, _row(*one[:9]), *one[9:]) for one in found]


def _row(
    n: int, key: str, event_id: str, sequence: int, context: str, kind: str, at: str, headers: str, body: bytes
) -> ForwardRow:
    return ForwardRow(n, key, event_id, sequence, context, kind, at, json.loads(headers), body)
