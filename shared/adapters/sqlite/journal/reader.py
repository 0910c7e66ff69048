"""The reading port on SQLite."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from shared.adapters.sqlite.journal.listing import AMONG, KEY, OCCURRED_AT, SqliteListing
from shared.adapters.sqlite.journal.parked import COLUMNS as PARKED_COLUMNS
from shared.adapters.sqlite.journal.parked import parked_row
from shared.adapters.sqlite.journal.published import SqlitePublishedRows
from shared.adapters.sqlite.journal.refused import SqliteRefusedRows
from shared.adapters.sqlite.journal.statements import JOURNAL_COLUMNS, journal_row, json_text
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.adapters.sqlite.proofs import proofs_in
from shared.ports.broker import Stored
from shared.ports.rows import AnswerRow, JournalRow, Proof, RefusedRow, StrangerRow
from shared.ports.store_reader import AggregateRow, Backlog, KeptMessage, KeptRow, KeyRows, Publication, UnpublishedRow
from shared.wire.messages import aggregate_id

_BEHIND = (
    f"SELECT n, row_number() OVER (PARTITION BY {KEY} ORDER BY n DESC) - 1 AS behind FROM journal"  # noqa: S608  No input.
    " WHERE published_seq IS NULL"
)
"""The number of unpublished rows of its key that are later than each unpublished row."""


class SqliteReader(SqliteListing):
    """The questions to one database on one connection that only reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self._transaction = SqliteTransaction(connection)
        self._published = SqlitePublishedRows(connection)

    def parked(self, numbers: Iterable[int] | None = None) -> list[KeptMessage]:
        query = f"SELECT id, verdict, {PARKED_COLUMNS} FROM parked"  # noqa: S608  No input.
        found = self._chosen(query, "id", numbers)
        return [KeptMessage(number, parked_row(*row), verdict) for number, verdict, *row in found]

    def skipped(self, message_ids: Iterable[str]) -> set[str]:
        query = f"SELECT message_id FROM skipped WHERE message_id {AMONG}"  # noqa: S608  No input.
        return {message_id for (message_id,) in self._connection.execute(query, (json_text(list(message_ids)),))}

    def refused(self, numbers: Iterable[int] | None = None) -> list[KeptRow]:
        query = (
            f"SELECT n, key, refused.partition, reason, seq, since, verdict, behind, {JOURNAL_COLUMNS}"  # noqa: S608  No input.
            f" FROM refused JOIN journal USING (n) JOIN ({_BEHIND}) USING (n) WHERE published_seq IS NULL"
        )
        return [
            KeptRow(RefusedRow(n, key, partition, reason, seq, since), journal_row(*row), verdict, behind)
            for n, key, partition, reason, seq, since, verdict, behind, *row in self._chosen(query, "n", numbers)
        ]

    def strangers(self, limit: int) -> tuple[list[StrangerRow], int]:
        if not self._knows_strangers():
            return [], 0
        found = self._connection.execute("SELECT * FROM strangers WHERE who = '' ORDER BY seq DESC LIMIT ?", (limit,))
        rows = [StrangerRow(*row) for row in found]
        return rows, self._connection.execute("SELECT count(*) FROM strangers WHERE who = ''").fetchone()[0]

    def declared_strangers(self) -> list[StrangerRow]:
        return SqliteRefusedRows(self._connection).declared_strangers() if self._knows_strangers() else []

    def _knows_strangers(self) -> bool:
        """Whether there is the table, which a database of an older release lacks."""
        return bool(self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'strangers'").fetchall())

    def about(self, key: str, partition: int, names: Sequence[str], timers: Sequence[str], *, limit: int) -> KeyRows:
        aggregates = self._aggregates_of(key, names, limit)
        query = f"SELECT id, verdict, {PARKED_COLUMNS} FROM parked WHERE key = ? ORDER BY id LIMIT ?"  # noqa: S608  No input.
        parked = [
            KeptMessage(number, parked_row(*row), verdict)
            for number, verdict, *row in self._connection.execute(query, (key, limit))
        ]
        armed = self._armed(f"{timer}/{aggregate.id}" for timer in timers for aggregate in aggregates)
        return KeyRows(aggregates, armed[:limit], parked, self._unpublished(key, partition, limit))

    def publications_of_rows(self, numbers: Iterable[int]) -> dict[int, Publication]:
        return {one.n: one for one in self._publications("n", list(numbers))}

    def publications_of_events(self, event_ids: Iterable[str]) -> dict[str, Publication]:
        return {one.event_id: one for one in self._publications("event_id", list(event_ids))}

    def last_versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        return self._transaction.last_versions(aggregates)

    def events_of(self, aggregate: str, *, up_to: int) -> Iterator[JournalRow]:
        return self._transaction.events_of(aggregate, up_to=up_to)

    def answer(self, idempotency_key: str) -> AnswerRow | None:
        return self._transaction.answers([idempotency_key]).get(idempotency_key)

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        return self._published.bodies(event_ids)

    def proofs(self, event_ids: Sequence[str]) -> dict[str, Proof]:
        return proofs_in(self._connection, "journal", event_ids)

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        return self._published.unexplained(found)

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        return self._published.missing(subjects, there, timers=timers)

    def _chosen(self, query: str, column: str, numbers: Iterable[int] | None) -> Iterator[tuple[Any, ...]]:
        if numbers is None:
            return self._connection.execute(f"{query} ORDER BY {column}")
        word = "AND" if " WHERE published_seq" in query else "WHERE"
        where = f"{query} {word} {column} {AMONG} ORDER BY {column}"
        return self._connection.execute(where, (json_text(list(numbers)),))

    def _aggregates_of(self, key: str, names: Sequence[str], limit: int) -> list[AggregateRow]:
        """The aggregates of a key. The id of one with a part goes on with a `.`, which no key contains."""
        return [
            AggregateRow(*row)
            for identity in (aggregate_id(name, key) for name in names)
            for row in self._connection.execute(
                f"SELECT a.id, a.version, state, type, {OCCURRED_AT.format('journal')}"  # noqa: S608  No input.
                " FROM aggregates a LEFT JOIN journal ON journal.aggregate = a.id AND journal.version = a.version"
                " WHERE a.id = ? OR (a.id > ? AND a.id < ?) ORDER BY a.id LIMIT ?",
                (identity, f"{identity}.", f"{identity}/", limit),
            )
        ][:limit]

    def _armed(self, timers: Iterable[str]) -> list[JournalRow]:
        """The newest row of each of these timers, unless it was decided or the reconciler found it obsolete."""
        return [
            journal_row(*row)
            for timer in timers
            for *row, published, decided in self._connection.execute(
                f"SELECT {JOURNAL_COLUMNS}, published_seq, EXISTS (SELECT 1 FROM inbox WHERE message_id = event_id)"  # noqa: S608  No input.
                " FROM journal WHERE aggregate = ? ORDER BY version DESC LIMIT 1",
                (timer,),
            )
            if published != 0 and not decided
        ]

    def _unpublished(self, key: str, partition: int, limit: int) -> list[UnpublishedRow]:
        found = self._connection.execute(
            f"SELECT n, coalesce(reason, ''), {JOURNAL_COLUMNS} FROM journal LEFT JOIN refused USING (n)"  # noqa: S608  No input.
            " WHERE published_seq IS NULL AND journal.partition = ? AND substr(subject, ?) = ?"
            " ORDER BY n LIMIT ?",
            (partition, -1 - len(key), f".{key}", limit),
        )
        return [UnpublishedRow(n, journal_row(*row), reason) for n, reason, *row in found]

    def _publications(self, column: str, named: Sequence[int | str]) -> list[Publication]:
        query = f"SELECT n, event_id, published_seq FROM journal WHERE {column} {AMONG}"  # noqa: S608  No input.
        return [Publication(*row) for row in self._connection.execute(query, (json_text(named),))]


def read_backlog(connection: sqlite3.Connection) -> Backlog:
    """Count what waits, in a database of any release."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not {"journal", "parked"} <= tables:
        return Backlog()
    parked = dict(connection.execute("SELECT key, count(*) FROM parked GROUP BY key ORDER BY min(id)").fetchall())
    refused: tuple[str, ...] = ()
    if "refused" in tables:  # A database of an older release has no such table.
        refused = tuple(key for (key,) in connection.execute("SELECT DISTINCT key FROM refused ORDER BY key"))
    # A timer row has no time, but the row before it is the event that armed it, which has.
    rows, oldest = connection.execute(
        f"SELECT count(*), min(coalesce({OCCURRED_AT.format('journal')}, {OCCURRED_AT.format('armed_by')}))"  # noqa: S608  No input.
        " FROM journal LEFT JOIN journal armed_by ON armed_by.n = journal.n - 1 WHERE journal.published_seq IS NULL"
    ).fetchone()
    return Backlog(
        parked=sum(parked.values()),
        parked_keys=tuple(parked),
        refused_keys=refused,
        unpublished=rows,
        unpublished_since=None if oldest is None else datetime.fromisoformat(oldest),
    )
