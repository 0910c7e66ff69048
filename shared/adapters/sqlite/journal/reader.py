"""The reading port on SQLite."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from shared.adapters.sqlite.journal.parked import COLUMNS as PARKED_COLUMNS
from shared.adapters.sqlite.journal.parked import parked_row
from shared.adapters.sqlite.journal.published import SqlitePublishedRows
from shared.adapters.sqlite.journal.statements import JOURNAL_COLUMNS, journal_row, json_text
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.ports.broker import Stored
from shared.ports.rows import JournalRow, RefusedRow
from shared.ports.store_reader import KeptMessage, KeptRow, Place, Waiting

_AMONG = "IN (SELECT value FROM json_each(?))"
_BEHIND = (
    "SELECT count(*) FROM journal later WHERE later.published_seq IS NULL AND later.partition = refused.partition"
    " AND later.n > refused.n AND substr(later.subject, -1 - length(key)) = '.' || key"
)


class SqliteReader:
    """The questions to one database on one connection that only reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._transaction = SqliteTransaction(connection)
        self._published = SqlitePublishedRows(connection)

    def parked(self, numbers: Iterable[int] | None = None) -> list[KeptMessage]:
        query = f"SELECT id, verdict, {PARKED_COLUMNS} FROM parked"  # noqa: S608  No input.
        found = self._chosen(query, "id", numbers)
        return [KeptMessage(number, parked_row(*row), verdict) for number, verdict, *row in found]

    def skipped(self, message_ids: Iterable[str]) -> set[str]:
        query = f"SELECT message_id FROM skipped WHERE message_id {_AMONG}"  # noqa: S608  No input.
        return {message_id for (message_id,) in self._connection.execute(query, (json_text(list(message_ids)),))}

    def refused(self, numbers: Iterable[int] | None = None) -> list[KeptRow]:
        query = (
            f"SELECT n, key, refused.partition, reason, seq, since, verdict, ({_BEHIND}), {JOURNAL_COLUMNS}"  # noqa: S608  No input.
            " FROM refused JOIN journal USING (n) WHERE published_seq IS NULL"
        )
        return [
            KeptRow(RefusedRow(n, key, partition, reason, seq, since), journal_row(*row), verdict, behind)
            for n, key, partition, reason, seq, since, verdict, behind, *row in self._chosen(query, "n", numbers)
        ]

    def places_of_rows(self, numbers: Iterable[int]) -> dict[int, Place]:
        return {place.n: place for place in self._places("n", list(numbers))}

    def places_of_events(self, event_ids: Iterable[str]) -> dict[str, Place]:
        return {place.event_id: place for place in self._places("event_id", list(event_ids))}

    def last_versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        return self._transaction.last_versions(aggregates)

    def events_of(self, aggregate: str, *, up_to: int) -> Iterator[JournalRow]:
        return self._transaction.events_of(aggregate, up_to=up_to)

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        return self._published.bodies(event_ids)

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        return self._published.unexplained(found)

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        return self._published.missing(subjects, there, timers=timers)

    def _chosen(self, query: str, column: str, numbers: Iterable[int] | None) -> Iterator[tuple[Any, ...]]:
        if numbers is None:
            return self._connection.execute(f"{query} ORDER BY {column}")
        word = "AND" if " WHERE published_seq" in query else "WHERE"
        where = f"{query} {word} {column} {_AMONG} ORDER BY {column}"
        return self._connection.execute(where, (json_text(list(numbers)),))

    def _places(self, column: str, named: Sequence[int | str]) -> list[Place]:
        query = f"SELECT n, event_id, published_seq FROM journal WHERE {column} {_AMONG}"  # noqa: S608  No input.
        return [Place(*place) for place in self._connection.execute(query, (json_text(named),))]


def count_waiting(connection: sqlite3.Connection) -> Waiting:
    """Count what waits, in a database of any release or of a service."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"journal", "parked"} <= tables:
        return Waiting()
    parked = dict(connection.execute("SELECT key, count(*) FROM parked GROUP BY key ORDER BY min(id)").fetchall())
    refused: tuple[str, ...] = ()
    if "refused" in tables:  # A database of an older release has no such table.
        refused = tuple(key for (key,) in connection.execute("SELECT DISTINCT key FROM refused ORDER BY key"))
    # A timer row has no time, but the row before it is the event that armed it, which has.
    occurred_at = "json_extract({}.headers, '$.\"Occurred-At\"')"
    rows, oldest = connection.execute(
        f"SELECT count(*), min(coalesce({occurred_at.format('journal')}, {occurred_at.format('armed_by')}))"  # noqa: S608  No input.
        " FROM journal LEFT JOIN journal armed_by ON armed_by.n = journal.n - 1 WHERE journal.published_seq IS NULL"
    ).fetchone()
    return Waiting(
        parked=sum(parked.values()),
        parked_keys=tuple(parked),
        refused_keys=refused,
        unpublished=rows,
        unpublished_since=None if oldest is None else datetime.fromisoformat(oldest),
    )
