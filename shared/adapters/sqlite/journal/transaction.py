"""One transaction on a context's database in SQLite.

A query that reads or inserts many rows is one statement. A few updates run one statement per row: SQLite has no round
trip to save, and an UPDATE from a list of values is no faster for the dozen rows of a batch (measured for positions).
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from typing import Final

from shared.adapters.sqlite.journal.parked import SqliteParkedMessages
from shared.adapters.sqlite.journal.published import SqlitePublishedRows
from shared.adapters.sqlite.journal.refused import SqliteRefusedRows
from shared.adapters.sqlite.journal.statements import (
    JOURNAL_COLUMNS,
    headers_from_text,
    insert,
    journal_row,
    json_text,
)
from shared.adapters.sqlite.journal.tables import INPUTS
from shared.ports.rows import AnswerRow, EffectRow, InputRow, JournalRow, Move, NumberedRow, Position
from shared.ports.store import FencedError
from shared.wire.messages import CORRELATION_ID, split_edition

_EVENTS: Final = f"SELECT {JOURNAL_COLUMNS} FROM journal WHERE subject GLOB 'evt.*'"  # noqa: S608  No input.


class SqliteTransaction:
    """The queries of one transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.parked = SqliteParkedMessages(connection)
        self.published = SqlitePublishedRows(connection)
        self.refused = SqliteRefusedRows(connection)

    def inbox_hashes(self, message_ids: Iterable[str]) -> dict[str, bytes]:
        return dict(
            self._connection.execute(
                "SELECT message_id, hash FROM inbox WHERE message_id IN (SELECT value FROM json_each(?))",
                (json_text(list(message_ids)),),
            ).fetchall()
        )

    def snapshots(self, ids: Iterable[str]) -> list[tuple[str, int, str]]:
        return self._connection.execute(
            "SELECT id, version, state FROM aggregates WHERE id IN (SELECT value FROM json_each(?))",
            (json_text(list(ids)),),
        ).fetchall()

    def advance_positions(self, moves: Sequence[Move]) -> None:  # The fence: a process that lost its partition fails.
        for stream, partition, expected, seq, message_id in moves:
            if expected == 0:
                self._connection.execute("INSERT OR IGNORE INTO positions VALUES (?, ?, 0, '')", (stream, partition))
            moved = self._connection.execute(
                "UPDATE positions SET seq = ?, message_id = ? WHERE stream = ? AND partition = ? AND seq = ?",
                (seq, message_id, stream, partition, expected),
            )
            if moved.rowcount != 1:
                raise FencedError(f"{stream}/{partition} is no longer at {expected}")

    def add_to_inbox(self, messages: Sequence[tuple[str, bytes]]) -> None:
        insert(self._connection, "INSERT INTO inbox VALUES", 2, messages)

    def answers(self, idempotency_keys: Sequence[str]) -> dict[str, AnswerRow]:
        query = "SELECT * FROM answers WHERE idempotency_key IN (SELECT value FROM json_each(?))"
        return {row[0]: AnswerRow(*row) for row in self._connection.execute(query, (json_text(idempotency_keys),))}

    def add_answers(self, rows: Sequence[AnswerRow]) -> None:
        insert(self._connection, "INSERT INTO answers VALUES", 4, rows)

    def keeps_inputs(self) -> bool:
        query = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'inputs')"
        return bool(self._connection.execute(query).fetchone()[0])

    def keep_inputs(self) -> None:
        self._connection.execute(INPUTS)

    def add_inputs(self, rows: Sequence[InputRow]) -> None:
        into = "INSERT OR IGNORE INTO inputs (kind, id, type, key, at_ns, after_n, body) VALUES"
        insert(self._connection, into, 7, rows)

    def append(self, rows: Sequence[JournalRow]) -> list[NumberedRow]:
        if not rows:
            return []
        last = self.last_number()
        numbered = [NumberedRow(n, row) for n, row in enumerate(rows, last + 1)]
        insert(
            self._connection,
            "INSERT INTO journal (n, event_id, aggregate, version, subject, type, headers, body, partition) VALUES",
            9,
            [
                (n, row.event_id, row.aggregate, row.version, row.subject, row.type, json_text(row.headers),
                 row.body.decode(), row.partition)
                for n, row in numbered
            ],
        )  # fmt: skip
        return numbered

    def last_number(self) -> int:
        return self._connection.execute("SELECT max(n) FROM journal").fetchone()[0] or 0

    def save_snapshots(self, rows: Sequence[tuple[str, int, str]]) -> None:
        insert(self._connection, "INSERT OR REPLACE INTO aggregates VALUES", 3, rows)

    def drop_snapshots(self) -> None:
        self._connection.execute("DELETE FROM aggregates")

    def events(self) -> Iterator[JournalRow]:
        return starmap(journal_row, self._connection.execute(f"{_EVENTS} ORDER BY aggregate, version"))

    def events_of(self, aggregate: str, *, up_to: int) -> Iterator[JournalRow]:
        query = f"{_EVENTS} AND aggregate = ? AND version <= ? ORDER BY version"
        return starmap(journal_row, self._connection.execute(query, (aggregate, up_to)))

    def last_versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        # Without GROUP BY, SQLite reads one entry of the index per aggregate, however many events it has.
        query = "SELECT value, (SELECT max(version) FROM journal WHERE aggregate = value) FROM json_each(?)"
        found = self._connection.execute(query, (json_text(list(aggregates)),))
        return {aggregate: version for aggregate, version in found if version is not None}

    def with_events(self, aggregates: Iterable[str]) -> set[str]:
        query = "SELECT aggregate FROM journal WHERE aggregate IN (SELECT value FROM json_each(?)) AND version = 1"
        return {aggregate for (aggregate,) in self._connection.execute(query, (json_text(list(aggregates)),))}

    def add_effects(self, rows: Sequence[tuple[int, str, str, int]]) -> None:
        insert(self._connection, "INSERT INTO effects (n, event_id, key, partition) VALUES", 4, rows)

    def still_open(self, event_ids: Sequence[str]) -> set[str]:
        query = "SELECT event_id FROM effects WHERE event_id IN (SELECT value FROM json_each(?))"
        return {event_id for (event_id,) in self._connection.execute(query, (json_text(event_ids),))}

    def close_effects(self, event_ids: Sequence[str]) -> None:
        self._connection.execute(
            "DELETE FROM effects WHERE event_id IN (SELECT value FROM json_each(?))", (json_text(event_ids),)
        )

    def record_attempts(self, attempts: Sequence[tuple[int, str, str]]) -> None:
        self._connection.executemany("UPDATE effects SET attempts = ?, last_error = ? WHERE event_id = ?", attempts)

    def mark_published(self, marks: Sequence[tuple[int, int]]) -> None:
        for first, last, offset in _runs(marks):
            self._connection.execute(
                "UPDATE journal SET published_seq = n + ? WHERE n BETWEEN ? AND ?", (offset, first, last)
            )
        if marks:
            self.refused.delete_published()

    def positions(self) -> dict[tuple[str, int], Position]:
        return {
            (stream, partition): Position(seq, message_id)
            for stream, partition, seq, message_id in self._connection.execute("SELECT * FROM positions")
        }

    def unpublished(self, partitions: Iterable[int], *, after: int = 0, before: int = 2**62) -> list[NumberedRow]:
        return [
            NumberedRow(n, journal_row(*row))
            for n, *row in self._connection.execute(
                f"SELECT n, {JOURNAL_COLUMNS} FROM journal"  # noqa: S608  No input.
                " WHERE published_seq IS NULL AND partition IN (SELECT value FROM json_each(?)) AND n > ? AND n < ?"
                " ORDER BY n",
                (json_text(list(partitions)), after, before),
            )
        ]

    def open_effects(self, partitions: Iterable[int], *, after: int = 0, limit: int) -> list[EffectRow]:
        return [
            EffectRow(n, event_id, key, partition, attempts, kind, headers_from_text(headers), body.encode())
            for n, event_id, key, partition, attempts, kind, headers, body in self._connection.execute(
                "SELECT e.n, e.event_id, e.key, e.partition, e.attempts, j.type, j.headers, j.body"
                " FROM effects e JOIN journal j ON j.n = e.n"
                " WHERE e.partition IN (SELECT value FROM json_each(?)) AND e.n > ? ORDER BY e.n LIMIT ?",
                (json_text(list(partitions)), after, limit),
            )
        ]

    def closed_effects(self, kinds: Sequence[str], *, limit: int) -> list[tuple[str, str]]:
        found = self._connection.execute(
            "SELECT event_id, headers ->> ? FROM journal j WHERE type IN (SELECT value FROM json_each(?))"
            " AND NOT EXISTS (SELECT 1 FROM effects WHERE n = j.n) ORDER BY n DESC LIMIT ?",
            (f'$."{CORRELATION_ID}"', json_text(list(kinds)), limit),
        )
        return [(split_edition(event_id)[0], saga) for event_id, saga in found]

    def delete_positions(self, stream: str) -> None:
        self._connection.execute("DELETE FROM positions WHERE stream = ?", (stream,))

    def meta(self, key: str) -> str | None:
        found = self._connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return None if found is None else str(found[0])

    def set_meta(self, key: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _runs(marks: Sequence[tuple[int, int]]) -> Iterable[tuple[int, int, int]]:
    """Group (n, seq) into runs in which both increase by one: (first n, last n, seq - n)."""
    first = last = offset = None
    for n, seq in sorted(marks):
        if last is not None and n == last + 1 and seq - n == offset:
            last = n
            continue
        if first is not None and last is not None and offset is not None:
            yield first, last, offset
        first, last, offset = n, n, seq - n
    if first is not None and last is not None and offset is not None:
        yield first, last, offset
