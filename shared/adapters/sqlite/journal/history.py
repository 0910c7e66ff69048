"""The replay's port on SQLite: keyset pages, so that no read transaction lasts longer than a page."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from itertools import starmap
from typing import Final

from shared.adapters.sqlite.journal.statements import JOURNAL_COLUMNS, journal_row, json_text
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.ports.history import Reached
from shared.ports.rows import InputRow, JournalRow, NumberedRow
from shared.wire.messages import split_edition
from shared.wire.streams import EVENTS

_ROWS: Final = f"SELECT n, {JOURNAL_COLUMNS} FROM journal WHERE subject GLOB 'evt.*'"  # noqa: S608  No input.
_INPUTS: Final = "SELECT kind, id, type, key, at_ns, after_n, body FROM inputs"


class SqliteHistory:
    """The questions of a replay to one database on one connection that only reads."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._transaction = SqliteTransaction(connection)
        self._has_inputs = self._transaction.keeps_inputs()

    def reached(self) -> Reached:
        positions = self._transaction.positions()
        of_events = {partition: at.seq for (stream, partition), at in positions.items() if stream == EVENTS}
        return Reached(self._transaction.last_number(), of_events)

    def events(self, *, after: int, up_to: int, limit: int) -> list[NumberedRow]:
        found = self._connection.execute(f"{_ROWS} AND n > ? AND n <= ? ORDER BY n LIMIT ?", (after, up_to, limit))
        return [NumberedRow(n, journal_row(*row)) for n, *row in found.fetchall()]

    def inputs(self, *, after: int, limit: int) -> list[tuple[int, InputRow]]:
        if not self._has_inputs:
            return []
        query = _INPUTS.replace("SELECT", "SELECT i,", 1)
        found = self._connection.execute(f"{query} WHERE i > ? ORDER BY i LIMIT ?", (after, limit)).fetchall()
        return [(number, InputRow(*row)) for number, *row in found]

    def input(self, kind: str, input_id: str) -> list[InputRow]:
        if not self._has_inputs:
            return []
        query = f"{_INPUTS} WHERE kind = ? AND id = ? ORDER BY i"
        return list(starmap(InputRow, self._connection.execute(query, (kind, input_id))))

    def commands(self, keys: Iterable[str] | None = None) -> list[InputRow]:
        if not self._has_inputs:
            return []
        among = "" if keys is None else " AND key IN (SELECT value FROM json_each(?))"
        query = f"{_INPUTS} WHERE kind = 'command'{among} ORDER BY i"
        return list(starmap(InputRow, self._connection.execute(query, () if keys is None else (json_text([*keys]),))))

    def events_of_saga(self, correlation_id: str) -> list[NumberedRow]:
        query = f"{_ROWS} AND json_extract(headers, '$.\"Correlation-Id\"') = ? ORDER BY n"
        return [NumberedRow(n, journal_row(*row)) for n, *row in self._connection.execute(query, (correlation_id,))]

    def event(self, event_id: str) -> JournalRow | None:
        first, _ = split_edition(event_id)
        query = f"{_ROWS} AND (event_id = ? OR (event_id > ? AND event_id < ?)) LIMIT 1"
        found = self._connection.execute(query, (first, f"{first}.", f"{first}/")).fetchone()
        return None if found is None else journal_row(*found[1:])

    def events_before(self, aggregate: str, n: int) -> Iterator[JournalRow]:
        query = f"{_ROWS} AND aggregate = ? AND n < ? ORDER BY version"
        return (journal_row(*row) for _, *row in self._connection.execute(query, (aggregate, n)))

    def in_inbox(self, message_ids: Sequence[str]) -> set[str]:
        return {*self._transaction.inbox_hashes(message_ids)}

    def was_parked(self, aggregates: Sequence[str]) -> set[str]:
        return self._transaction.with_events(aggregates)
