"""One transaction on a group's database: each read is one statement, and rows are written many at a time."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from shared.adapters.sqlite.journal.statements import insert, journal_row, json_text
from shared.adapters.sqlite.views.forwards import SqliteForwardRows
from shared.adapters.sqlite.views.tables import forget, list_name, table_name, text_name
from shared.ports.rows import JournalRow, NumberedRow
from shared.ports.store import FencedError
from shared.ports.views import Changed, Known, StateRow
from shared.readside.views import Table


class SqliteViewTransaction:
    """The statements of one transaction on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def known(self) -> Known:
        return known(self._connection)

    def advance(self, expected: int, known: Known) -> None:
        moved = self._connection.execute(
            "UPDATE known SET sequence = ?, message_id = ?, at_ns = ?, created = ? WHERE sequence = ?",
            (*known, expected),
        )
        if moved.rowcount != 1:
            raise FencedError(f"EVENTS is no longer at {expected}")

    def versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        query = "SELECT aggregate, version FROM versions WHERE aggregate IN (SELECT value FROM json_each(?))"
        return dict(self._connection.execute(query, (json_text(list(aggregates)),)).fetchall())

    def save_versions(self, versions: Mapping[str, int]) -> None:
        insert(self._connection, "INSERT OR REPLACE INTO versions VALUES", 2, sorted(versions.items()))

    def rows(self, table: str, keys: Iterable[str]) -> dict[str, str]:
        query = f"SELECT key, row FROM {table_name(table)} WHERE key IN (SELECT value FROM json_each(?))"  # noqa: S608 - our own name.
        return dict(self._connection.execute(query, (json_text(list(keys)),)).fetchall())

    def save(self, table: Table, rows: Sequence[Changed]) -> None:
        names = ("key", "sequence", "row", *table.columns)
        changes = ", ".join(f"{name} = excluded.{name}" for name in names[1:])
        self._connection.executemany(
            f"INSERT INTO {table_name(table.name)} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"  # noqa: S608 - our own names.
            f" ON CONFLICT (key) DO UPDATE SET {changes}",
            [(key, sequence, body, *columns) for key, sequence, body, columns in rows],
        )

    def save_lists(self, table: Table, name: str, values: Sequence[tuple[str, str]]) -> None:
        self._connection.executemany(
            f"INSERT OR IGNORE INTO {list_name(table.name, name)}"  # noqa: S608 - our own names.
            f" SELECT ?, n FROM {table_name(table.name)} WHERE key = ?",
            values,
        )

    def save_texts(self, table: Table, texts: Sequence[tuple[str, str]]) -> None:
        self._connection.executemany(
            f"INSERT INTO {text_name(table.name)} (text, rowid)"  # noqa: S608 - our own names.
            f" SELECT ?, n FROM {table_name(table.name)} WHERE key = ?",
            texts,
        )

    def state(self, place: str, key: str) -> tuple[bytes | None, int | None]:
        query = "SELECT entry, due FROM flow_state WHERE place = ? AND key = ?"
        found = self._connection.execute(query, (place, key)).fetchone()
        return (None, None) if found is None else (found[0], found[1])

    def states(self, place: str, keys: Iterable[str]) -> dict[str, tuple[bytes | None, int | None]]:
        query = "SELECT key, entry, due FROM flow_state WHERE place = ? AND key IN (SELECT value FROM json_each(?))"
        found = self._connection.execute(query, (place, json_text(list(keys))))
        return {key: (entry, due) for key, entry, due in found}

    def save_state(self, rows: Sequence[StateRow], deleted: Sequence[tuple[str, str]]) -> None:
        insert(self._connection, "INSERT OR REPLACE INTO flow_state VALUES", 4, rows)
        if deleted:
            self._connection.executemany("DELETE FROM flow_state WHERE place = ? AND key = ?", deleted)

    def next_due(self, place: str) -> int | None:
        query = "SELECT min(due) FROM flow_state WHERE place = ? AND due IS NOT NULL"
        found: int | None = self._connection.execute(query, (place,)).fetchone()[0]
        return found

    def due(self, place: str, up_to: int, *, at_most: int) -> list[tuple[str, bytes]]:
        query = (
            "SELECT key, entry FROM flow_state WHERE place = ? AND due IS NOT NULL AND due <= ?"
            " ORDER BY due, key LIMIT ?"
        )
        return self._connection.execute(query, (place, up_to, at_most)).fetchall()

    def add_counts(self, counts: Sequence[tuple[str, str, int]]) -> None:
        self._connection.executemany(
            "INSERT INTO flow_counts VALUES (?, ?, ?)"
            " ON CONFLICT (place, what) DO UPDATE SET number = number + excluded.number",
            counts,
        )

    def add_to_outbox(self, rows: Sequence[JournalRow]) -> list[NumberedRow]:
        added = []
        for row in rows:
            inserted = self._connection.execute(
                "INSERT OR IGNORE INTO outbox (event_id, aggregate, version, subject, type, headers, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (row.event_id, row.aggregate, row.version, row.subject, row.type, json_text(row.headers),
                 row.body.decode()),
            )  # fmt: skip
            if inserted.rowcount == 1 and inserted.lastrowid is not None:
                added.append(NumberedRow(inserted.lastrowid, row))
            else:  # The stream has it; `chorus replay` compares what is said of it.
                self._connection.execute(
                    "UPDATE outbox SET aggregate = ?, version = ?, subject = ?, type = ?, headers = ?, body = ?"
                    " WHERE event_id = ? AND body = ''",
                    (row.aggregate, row.version, row.subject, row.type, json_text(row.headers), row.body.decode(),
                     row.event_id),
                )  # fmt: skip
        return added

    def unpublished(self) -> list[NumberedRow]:
        query = (
            "SELECT n, event_id, aggregate, version, subject, type, headers, body, 0 FROM outbox"
            " WHERE published_seq IS NULL ORDER BY n"
        )
        return [NumberedRow(n, journal_row(*row)) for n, *row in self._connection.execute(query)]

    def seen_in_stream(self, published: Sequence[tuple[int, str]]) -> None:
        # A row without a body keeps the id of an event that no topology gives yet, so that it is not published again.
        self._connection.executemany(
            "INSERT INTO outbox (published_seq, event_id, aggregate, version, subject, type, headers, body)"
            " VALUES (?, ?, '', 0, '', '', '{}', '')"
            " ON CONFLICT (event_id) DO UPDATE SET published_seq = excluded.published_seq",
            published,
        )

    @property
    def forwards(self) -> SqliteForwardRows:
        return SqliteForwardRows(self._connection)

    def forget(self) -> None:
        forget(self._connection)

    def set_aside(self, poison: Sequence[tuple[int, str, str]]) -> None:
        self._connection.executemany(
            "INSERT INTO poison VALUES (?, ?, ?)"
            " ON CONFLICT (sequence) DO UPDATE SET reason = reason || '; ' || excluded.reason",
            poison,
        )


def known(connection: sqlite3.Connection) -> Known:
    """The position of a group."""
    query = "SELECT sequence, message_id, at_ns, created FROM known"
    return Known(*connection.execute(query).fetchone())
