"""The keyed state of topologies reads few entries at a time, however many are due."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

from shared.adapters.sqlite.views.tables import SCHEMA
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.groups.fold.flow_state import DUE_AT_MOST, FlowState

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)


class Measured(SqliteViewTransaction):
    """Notes how many entries each reading of those that are due gives."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.pages: list[int] = []

    def due(self, place: str, up_to: int, *, at_most: int) -> list[tuple[str, bytes]]:
        found = super().due(place, up_to, at_most=at_most)
        self.pages.append(len(found))
        return found


def test_entries_that_are_due_are_taken_page_by_page_the_earliest_first() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        transaction = Measured(opened)
        state = FlowState(transaction)
        numbers = range(2 * DUE_AT_MOST + 1)
        for number in reversed(numbers):
            state.put("join", f"k-{number}", b"{}", AT + timedelta(seconds=number))
        state.put("join", "later", b"{}", AT + timedelta(days=1))
        taken = [key for key, _ in state.take_due("join", AT + timedelta(seconds=numbers[-1]))]
        assert taken == [f"k-{number}" for number in numbers]
        assert transaction.pages == [DUE_AT_MOST, DUE_AT_MOST, 1, 0]
        assert state.get("join", "k-1") is None
        assert not state.is_due("join", AT + timedelta(hours=23))
        state.flush()
        assert opened.execute("SELECT key FROM flow_state WHERE due IS NOT NULL").fetchall() == [("later",)]
