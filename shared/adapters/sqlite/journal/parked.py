"""Messages that wait because their key is parked, and what somebody has said of them."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from shared.adapters.sqlite.journal.statements import insert, json_text
from shared.ports.rows import ParkedRow, SkippedRow, Waiting

COLUMNS = "key, partition, stream, seq, at_ns, message_id, subject, headers, body, reason"
SKIPPED_COLUMNS = "key, message_id, subject, reason, who, why, at"
_CHOSEN = "FROM parked WHERE id IN (SELECT value FROM json_each(?))"


class SqliteParkedMessages:
    """The queries on parked messages, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def keys(self) -> dict[str, int]:
        """The keys whose messages wait, and how many of each."""
        return dict(self._connection.execute("SELECT key, count(*) FROM parked GROUP BY key").fetchall())

    def looked_at(self, partitions: Iterable[int], *, limit: int) -> list[Waiting]:
        """Every parked message, in order, of the keys on which somebody has given a verdict."""
        return self._waiting(
            "key IN (SELECT key FROM parked WHERE verdict <> '')"
            " AND partition IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
            (json_text(list(partitions)), limit),
        )

    def message_ids(self) -> list[str]:
        """The ids of all parked messages, in the order in which they were parked."""
        return [message_id for (message_id,) in self._connection.execute("SELECT message_id FROM parked ORDER BY id")]

    def parked_as(self, message_ids: Sequence[str]) -> list[Waiting]:
        """The parked messages with these ids, in the order in which they were parked."""
        return self._waiting("message_id IN (SELECT value FROM json_each(?)) ORDER BY id", (json_text(message_ids),))

    def still_there(self, numbers: Sequence[int]) -> set[int]:
        """Which of these still wait: another process may have decided them since they were looked at."""
        return {number for (number,) in self._connection.execute(f"SELECT id {_CHOSEN}", (json_text(numbers),))}

    def unpark(self, numbers: Sequence[int], *, at: str) -> None:
        """Let go of messages that were decided or skipped, and try those behind them next.

        Those that were skipped leave who said so, why and when.
        """
        behind = f"verdict = '' AND key IN (SELECT key {_CHOSEN})"
        self._connection.execute(f"UPDATE parked SET verdict = 'retry' WHERE {behind}", (json_text(numbers),))  # noqa: S608  No input.
        recorded = f"SELECT key, message_id, subject, reason, who, why, ? {_CHOSEN} AND verdict = 'skip' ORDER BY id"
        # Without the id: SQLite gives the number of a deleted row to a later message, which may be skipped as well.
        self._connection.execute(f"INSERT INTO skipped ({SKIPPED_COLUMNS}) {recorded}", (at, json_text(numbers)))
        self._connection.execute(f"DELETE {_CHOSEN}", (json_text(numbers),))

    def park_again(self, failures: Mapping[int, tuple[str, str]]) -> None:
        """The message failed again: (key, reason) by id; its key waits for another verdict."""
        for number, (key, reason) in failures.items():
            self._connection.execute("UPDATE parked SET reason = ? WHERE id = ?", (reason, number))
            self._connection.execute("UPDATE parked SET verdict = '', who = '', why = '' WHERE key = ?", (key,))

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Say of parked messages that they are to be tried again or left out (`retry`, `skip`); how many there were."""
        return self._connection.execute(
            "UPDATE parked SET verdict = ?, who = ?, why = ? WHERE id IN (SELECT value FROM json_each(?))",
            (verdict, who, why, json_text(numbers)),
        ).rowcount

    def park(self, rows: Sequence[ParkedRow]) -> None:
        """Let messages wait."""
        insert(self._connection, f"INSERT INTO parked ({COLUMNS}) VALUES", 10, rows)

    def retry_what_leads(self) -> None:
        """Try the keys whose first message only waited behind another, which is not parked any more."""
        self._connection.execute(
            "UPDATE parked SET verdict = 'retry' WHERE key IN"
            " (SELECT key FROM (SELECT key, reason, min(id) FROM parked GROUP BY key) WHERE reason = '')"
        )

    def record_skipped(self, rows: Sequence[SkippedRow]) -> None:
        """Record messages that operators left out, for a rebuilt database."""
        insert(self._connection, f"INSERT INTO skipped ({SKIPPED_COLUMNS}) VALUES", 7, rows)

    def _waiting(self, which: str, parameters: tuple[str | int, ...]) -> list[Waiting]:
        query = f"SELECT id, verdict, who, why, {COLUMNS} FROM parked WHERE {which}"  # noqa: S608  No input.
        return [
            Waiting(number, ParkedRow(*row), verdict == "skip", who, why)
            for number, verdict, who, why, *row in self._connection.execute(query, parameters)
        ]
