"""Journal rows that the broker refuses for good, and messages of strangers under ids of this context."""

import sqlite3
from collections.abc import Iterable, Sequence

from shared.adapters.sqlite.journal.statements import json_text
from shared.ports.rows import JournalRow, NumberedRow, RefusedRow, StrangerRow, headers_from_text
from shared.wire.messages import MSG_ID, TIMER_ID, next_edition

_CHOSEN = "n IN (SELECT value FROM json_each(?))"


class SqliteRefusedRows:
    """The queries on refused rows, within a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, rows: Iterable[RefusedRow]) -> None:
        """Record rows that the broker refuses.

        A row that is recorded already keeps its `since`. Its verdict `retry` has been carried out and is removed; a
        verdict `void` stays until the worker gives the row its next edition.
        """
        for row in rows:
            self._connection.execute(
                "INSERT INTO refused (n, key, partition, reason, seq, since) SELECT ?, ?, ?, ?, ?, ?"
                " WHERE EXISTS (SELECT 1 FROM journal WHERE n = ? AND published_seq IS NULL)"
                " ON CONFLICT (n) DO UPDATE SET reason = excluded.reason, seq = excluded.seq,"
                " who = iif(verdict = 'void', who, ''), why = iif(verdict = 'void', why, ''),"
                " verdict = iif(verdict = 'void', verdict, '')",
                (*row, row.n),
            )

    def taken(self, partitions: Iterable[int]) -> list[RefusedRow]:
        """The unpublished rows of these partitions whose id another message in their stream has."""
        return [
            RefusedRow(*row)
            for row in self._connection.execute(
                "SELECT n, refused.key, refused.partition, reason, seq, since FROM refused JOIN journal USING (n)"
                " WHERE seq > 0 AND published_seq IS NULL"
                " AND refused.partition IN (SELECT value FROM json_each(?)) ORDER BY n",
                (json_text(list(partitions)),),
            )
        ]

    def forget_published(self) -> None:
        """Delete the record of every row that is published now; costs nothing while no row is refused."""
        self._connection.execute(
            "DELETE FROM refused WHERE n IN"
            " (SELECT refused.n FROM refused JOIN journal USING (n) WHERE published_seq IS NOT NULL)"
        )

    def verdicts(self, partitions: Iterable[int]) -> list[tuple[int, str]]:
        """(journal number, verdict) of the refused rows of these partitions that have one."""
        return self._connection.execute(
            "SELECT n, verdict FROM refused WHERE verdict <> '' AND partition IN (SELECT value FROM json_each(?))"
            " ORDER BY n",
            (json_text(list(partitions)),),
        ).fetchall()

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Let the worker publish these rows again (`retry`), or under a next edition (`void`); how many there were."""
        return self._connection.execute(
            f"UPDATE refused SET verdict = ?, who = ?, why = ? WHERE {_CHOSEN}",  # noqa: S608  No input.
            (verdict, who, why, json_text(numbers)),
        ).rowcount

    def void(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """Give rows that have the verdict `void` the next edition of their ids, and return them as they are now.

        Aggregate and version stay, so no state changes. An effect that the row asks for keeps its idempotency key, and
        a timer that the row arms keeps its id: both name the event without an edition.
        """
        found = self._connection.execute(
            "SELECT n, event_id, aggregate, version, subject, type, headers, body, partition FROM journal"  # noqa: S608  No input.
            f" WHERE {_CHOSEN} AND published_seq IS NULL AND n IN (SELECT n FROM refused WHERE verdict = 'void')",
            (json_text(numbers),),
        ).fetchall()
        rows = []
        for n, event_id, aggregate, version, subject, kind, headers_text, body, partition in found:
            identity = next_edition(event_id)
            headers = dict(headers_from_text(headers_text))
            headers |= {name: identity for name in (MSG_ID, TIMER_ID) if name in headers}
            self._connection.execute(
                "UPDATE journal SET event_id = ?, headers = ? WHERE n = ?", (identity, json_text(headers), n)
            )
            self._connection.execute("DELETE FROM refused WHERE n = ?", (n,))
            row = JournalRow(identity, aggregate, version, subject, kind, headers, body.encode(), partition)
            rows.append(NumberedRow(n, row))
        return rows

    def declare(self, strangers: Iterable[StrangerRow]) -> None:
        """Record messages that are not this context's.

        A later record replaces an earlier one of the same id, but what an operator declared only another operator.
        """
        self._connection.executemany(
            "INSERT INTO strangers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id) DO UPDATE SET"
            " seq = excluded.seq, subject = excluded.subject, reason = excluded.reason, at = excluded.at,"
            " who = excluded.who, why = excluded.why WHERE strangers.who = '' OR excluded.who <> ''",
            strangers,
        )

    def forget_found(self) -> None:
        """Forget the strangers that no operator declared: their stream is another one now."""
        self._connection.execute("DELETE FROM strangers WHERE who = ''")

    def declared_void(self) -> list[StrangerRow]:
        """The messages that an operator declared a stranger's."""
        return [StrangerRow(*row) for row in self._connection.execute("SELECT * FROM strangers WHERE who <> ''")]
