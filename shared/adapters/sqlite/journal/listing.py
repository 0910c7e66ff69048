"""Lists aggregates and waiting things for an operator's tools, a page at a time."""

import sqlite3
from typing import Any, Final

from shared.adapters.sqlite.journal.statements import json_text
from shared.ports.store_reader import AggregateQuery, ListedRow, WaitingRow
from shared.wire.messages import aggregate_id
from shared.wire.waiting import Kind

OCCURRED_AT: Final = "json_extract({}.headers, '$.\"Occurred-At\"')"
AMONG: Final = "IN (SELECT value FROM json_each(?))"
_HAS_KEY: Final = f"(a.id {AMONG} OR substr(a.id, 1, instr(a.id, '.') - 1) {AMONG})"
"""The id of an aggregate with a part goes on with a `.`, which no key contains."""
_HAS_FIELD: Final = (
    "EXISTS (SELECT 1 FROM json_tree(state) WHERE key = ?"
    " AND ? = CASE WHEN type IN ('true', 'false') THEN type ELSE CAST(atom AS TEXT) END)"
)
_HAS_EVENT: Final = f"SELECT 1 FROM journal WHERE aggregate = a.id AND type {AMONG}"  # noqa: S608  No input.
KEY: Final = "substr(subject, length(rtrim(subject, replace(subject, '.', ''))) + 1)"
"""The last part of a journal row's subject."""
_SOURCES: Final = {
    "call": "effects",
    "refused": "refused",
    "unpublished": "(SELECT n FROM journal WHERE published_seq IS NULL EXCEPT SELECT n FROM refused)",
}


class SqliteListing:
    """The questions to one database on one connection that only reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def list_aggregates(self, query: AggregateQuery) -> list[ListedRow]:
        where, values = _chosen(query)
        if query.before:
            where.append("first.n <= ?")
            values.append(self._last_number_at(query.before))
        direction = "ASC" if query.oldest_first else "DESC"
        found = self._connection.execute(
            f"SELECT began, a.id, a.version, coalesce(json_extract(a.state, '$.status'), ''),"  # noqa: S608  No input.
            f" {OCCURRED_AT.format('born')}, last.type, {OCCURRED_AT.format('last')} FROM ("
            " SELECT a.id, first.n AS began FROM aggregates a"
            " CROSS JOIN journal first ON first.aggregate = a.id AND first.version = 1"
            f" WHERE {' AND '.join(where)} ORDER BY first.n {direction} LIMIT ?"
            ") found JOIN aggregates a ON a.id = found.id JOIN journal born ON born.n = began"
            f" JOIN journal last ON last.aggregate = a.id AND last.version = a.version ORDER BY began {direction}",
            (*values, query.limit),
        )
        return [ListedRow(*row) for row in found]

    def statuses(self, name: str) -> dict[str, int]:
        return dict(
            self._connection.execute(
                "SELECT coalesce(json_extract(state, '$.status'), ''), count(*) FROM aggregates"
                " WHERE id > ? AND id < ? GROUP BY 1 ORDER BY 1",
                (f"{name}-", f"{name}."),
            ).fetchall()
        )

    def list_waiting(self, kind: Kind, *, after: int, limit: int) -> list[WaitingRow]:
        if kind == "parked":
            found = self._connection.execute(
                "SELECT id, key, message_id, subject, at_ns, reason FROM parked WHERE id > ? ORDER BY id LIMIT ?",
                (after, limit),
            )
            return [
                WaitingRow(number, key, message_id, subject.split(".")[2], at_ns, 0, reason)
                for number, key, message_id, subject, at_ns, reason in found
            ]
        text, attempts = {"call": ("last_error", "attempts"), "refused": ("reason", "0")}.get(kind, ("''", "0"))
        found = self._connection.execute(
            f"SELECT waits.n, {KEY}, journal.event_id, type, coalesce({OCCURRED_AT.format('journal')}, ''),"  # noqa: S608  No input.
            f" {attempts}, {text} FROM {_SOURCES[kind]} waits CROSS JOIN journal ON journal.n = waits.n"
            " WHERE waits.n > ? ORDER BY waits.n LIMIT ?",
            (after, limit),
        )
        return [WaitingRow(*row) for row in found]

    def count_waiting(self) -> dict[Kind, int]:
        return dict(
            self._connection.execute(
                "SELECT 'call', count(*) FROM effects UNION ALL SELECT 'parked', count(*) FROM parked"
                " UNION ALL SELECT 'refused', count(*) FROM refused"
                " UNION ALL SELECT 'unpublished', count(*) FROM journal LEFT JOIN refused USING (n)"
                " WHERE published_seq IS NULL AND refused.n IS NULL"
            ).fetchall()
        )

    def _last_number_at(self, at: str) -> int:
        """The last journal row that was written up to this time. Their times grow with their numbers."""
        low, high = 0, self._connection.execute("SELECT coalesce(max(n), 0) FROM journal").fetchone()[0]
        while low < high:
            middle = (low + high + 1) // 2
            # A timer's row has no time, but the row before it has.
            row = self._connection.execute(
                f"SELECT {OCCURRED_AT.format('journal')} AS at FROM journal"  # noqa: S608  No input.
                " WHERE n <= ? AND at IS NOT NULL ORDER BY n DESC LIMIT 1",
                (middle,),
            ).fetchone()
            if row is None or row[0] <= at:
                low = middle
            else:
                high = middle - 1
        return int(low)


def _chosen(query: AggregateQuery) -> tuple[list[str], list[Any]]:
    """The conditions on an aggregate `a` with its `first` event, and their values."""
    where, values = ["a.id > ? AND a.id < ?"], [f"{query.name}-", f"{query.name}."]
    if query.keys:
        where.append(_HAS_KEY)
        values += [json_text([aggregate_id(query.name, key) for key in query.keys])] * 2
    if query.status:
        where.append("instr(state, ?) AND json_extract(state, '$.status') = ?")
        values += [json_text(query.status), query.status]
    for field, text in query.fields.items():
        # The text alone rules most states out, which is much faster than to read their JSON.
        where.append(f"(instr(state, ?) OR instr(state, ?)) AND {_HAS_FIELD}")
        values += [f"{json_text(field)}:{json_text(text)}", f"{json_text(field)}:{text}", field, text]
    if query.unless:
        where.append(f"NOT EXISTS ({_HAS_EVENT})")
        values.append(json_text(query.unless))
    if query.after:
        where.append(f"first.n {'>' if query.oldest_first else '<'} {query.after:d}")
    return where, values
