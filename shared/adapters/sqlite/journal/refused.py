"""Refused rows and strangers in SQLite."""

import sqlite3
from collections.abc import Iterable, Sequence

from shared.adapters.sqlite.journal.statements import JOURNAL_COLUMNS, journal_row, json_text
from shared.ports.rows import NumberedRow, RefusedRow, StrangerRow

_CHOSEN = "n IN (SELECT value FROM json_each(?))"


class SqliteRefusedRows:
    """The refused rows and the strangers within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def record(self, rows: Sequence[RefusedRow]) -> None:
        self._connection.executemany(
            "INSERT INTO refused (n, key, partition, reason, seq, since)"
            " SELECT * FROM (SELECT ? AS n, ? AS key, ? AS partition, ? AS reason, ? AS seq, ? AS since) given"
            " WHERE EXISTS (SELECT 1 FROM journal WHERE journal.n = given.n AND published_seq IS NULL)"
            " ON CONFLICT (n) DO UPDATE SET reason = excluded.reason, seq = excluded.seq,"
            " who = iif(verdict = 'void', who, ''), why = iif(verdict = 'void', why, ''),"
            " verdict = iif(verdict = 'void', verdict, '')",
            rows,
        )

    def with_id_conflicts(self, partitions: Iterable[int]) -> list[RefusedRow]:
        return [
            RefusedRow(*row)
            for row in self._connection.execute(
                "SELECT n, refused.key, refused.partition, reason, seq, since FROM refused JOIN journal USING (n)"
                " WHERE seq > 0 AND published_seq IS NULL"
                " AND refused.partition IN (SELECT value FROM json_each(?)) ORDER BY n",
                (json_text(list(partitions)),),
            )
        ]

    def delete_published(self) -> None:
        """Delete the refusals of all rows that are published now; costs nothing while no row is refused."""
        self._connection.execute(
            "DELETE FROM refused WHERE EXISTS"
            " (SELECT 1 FROM journal WHERE journal.n = refused.n AND published_seq IS NOT NULL)"
        )

    def verdicts(self, partitions: Iterable[int]) -> list[tuple[int, str]]:
        return self._connection.execute(
            "SELECT n, verdict FROM refused WHERE verdict <> '' AND partition IN (SELECT value FROM json_each(?))"
            " ORDER BY n",
            (json_text(list(partitions)),),
        ).fetchall()

    def give_verdict(self, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        return self._connection.execute(
            f"UPDATE refused SET verdict = ?, who = ?, why = ? WHERE {_CHOSEN}",  # noqa: S608  No input.
            (verdict, who, why, json_text(numbers)),
        ).rowcount

    def give_next_editions(self, numbers: Sequence[int]) -> list[NumberedRow]:
        rows = [NumberedRow(n, row.next_edition()) for n, row in self._void(numbers)]
        self._connection.executemany(
            "UPDATE journal SET event_id = ?, headers = ? WHERE n = ?",
            [(row.event_id, json_text(row.headers), n) for n, row in rows],
        )
        self._connection.execute(f"DELETE FROM refused WHERE {_CHOSEN}", (json_text([n for n, _ in rows]),))  # noqa: S608  No input.
        return rows

    def record_strangers(self, strangers: Iterable[StrangerRow]) -> None:
        self._connection.executemany(
            "INSERT INTO strangers VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (message_id) DO UPDATE SET"
            " seq = excluded.seq, subject = excluded.subject, reason = excluded.reason, at = excluded.at,"
            " who = excluded.who, why = excluded.why WHERE strangers.who = '' OR excluded.who <> ''",
            strangers,
        )

    def delete_found_strangers(self) -> None:
        self._connection.execute("DELETE FROM strangers WHERE who = ''")

    def declared_strangers(self) -> list[StrangerRow]:
        return [StrangerRow(*row) for row in self._connection.execute("SELECT * FROM strangers WHERE who <> ''")]

    def _void(self, numbers: Sequence[int]) -> list[NumberedRow]:
        """The unpublished rows of these that have the verdict `void`."""
        return [
            NumberedRow(n, journal_row(*row))
            for n, *row in self._connection.execute(
                f"SELECT n, {JOURNAL_COLUMNS} FROM journal"  # noqa: S608  No input.
                f" WHERE {_CHOSEN} AND published_seq IS NULL AND n IN (SELECT n FROM refused WHERE verdict = 'void')",
                (json_text(numbers),),
            ).fetchall()
        ]
