"""Parked messages in SQLite."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from shared.adapters.sqlite.journal.statements import headers_from_text, insert, json_text
from shared.ports.rows import ParkedRow, ParkedVerdict, SkippedRow

COLUMNS = "key, partition, stream, seq, at_ns, message_id, subject, headers, body, reason"
SKIPPED_COLUMNS = "key, message_id, subject, reason, who, why, at"
_CHOSEN = "FROM parked WHERE id IN (SELECT value FROM json_each(?))"


class SqliteParkedMessages:
    """The parked messages within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def counts(self) -> dict[str, int]:
        return dict(self._connection.execute("SELECT key, count(*) FROM parked GROUP BY key").fetchall())

    def with_verdict(self, partitions: Iterable[int], *, limit: int) -> list[ParkedVerdict]:
        return self._verdicts(
            "key IN (SELECT key FROM parked WHERE verdict <> '')"
            " AND partition IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
            (json_text(list(partitions)), limit),
        )

    def message_ids(self) -> list[str]:
        return [message_id for (message_id,) in self._connection.execute("SELECT message_id FROM parked ORDER BY id")]

    def by_message_ids(self, message_ids: Sequence[str]) -> list[ParkedVerdict]:
        return self._verdicts("message_id IN (SELECT value FROM json_each(?)) ORDER BY id", (json_text(message_ids),))

    def still_parked(self, numbers: Sequence[int]) -> set[int]:
        return {number for (number,) in self._connection.execute(f"SELECT id {_CHOSEN}", (json_text(numbers),))}

    def unpark(self, numbers: Sequence[int], *, at: str) -> None:
        later = f"verdict = '' AND key IN (SELECT key {_CHOSEN})"
        self._connection.execute(f"UPDATE parked SET verdict = 'retry' WHERE {later}", (json_text(numbers),))  # noqa: S608  No input.
        recorded = f"SELECT key, message_id, subject, reason, who, why, ? {_CHOSEN} AND verdict = 'skip' ORDER BY id"
        # Without the id: SQLite may give the id of a deleted row to a later message, which may be skipped as well.
        self._connection.execute(f"INSERT INTO skipped ({SKIPPED_COLUMNS}) {recorded}", (at, json_text(numbers)))
        self._connection.execute(f"DELETE {_CHOSEN}", (json_text(numbers),))

    def park_again(self, failures: Mapping[int, tuple[str, str]]) -> None:
        reasons = [(reason, number) for number, (_, reason) in failures.items()]
        self._connection.executemany("UPDATE parked SET reason = ? WHERE id = ?", reasons)
        self._connection.execute(
            "UPDATE parked SET verdict = '', who = '', why = '' WHERE key IN (SELECT value FROM json_each(?))",
            (json_text([key for key, _ in failures.values()]),),
        )

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        return self._connection.execute(
            "UPDATE parked SET verdict = ?, who = ?, why = ? WHERE id IN (SELECT value FROM json_each(?))",
            (verdict, who, why, json_text(numbers)),
        ).rowcount

    def park(self, rows: Sequence[ParkedRow]) -> None:
        encoded = [row._replace(headers=json_text(row.headers)) for row in rows]  # type: ignore[arg-type]  # A column.
        insert(self._connection, f"INSERT INTO parked ({COLUMNS}) VALUES", 10, encoded)

    def retry_orphans(self) -> None:
        self._connection.execute(
            "UPDATE parked SET verdict = 'retry' WHERE key IN"
            " (SELECT key FROM (SELECT key, reason, min(id) FROM parked GROUP BY key) WHERE reason = '')"
        )

    def record_skipped(self, rows: Sequence[SkippedRow]) -> None:
        insert(self._connection, f"INSERT INTO skipped ({SKIPPED_COLUMNS}) VALUES", 7, rows)

    def _verdicts(self, where: str, parameters: tuple[str | int, ...]) -> list[ParkedVerdict]:
        query = f"SELECT id, verdict, who, why, {COLUMNS} FROM parked WHERE {where}"  # noqa: S608  No input.
        return [
            ParkedVerdict(number, parked_row(*row), verdict == "skip", who, why)
            for number, verdict, who, why, *row in self._connection.execute(query, parameters)
        ]


def parked_row(
    key: str, partition: int, stream: str, seq: int, at_ns: int, message_id: str, subject: str, headers: str,
    body: bytes, reason: str,
) -> ParkedRow:  # fmt: skip
    return ParkedRow(
        key, partition, stream, seq, at_ns, message_id, subject, headers_from_text(headers), body, reason
    )  # fmt: skip
