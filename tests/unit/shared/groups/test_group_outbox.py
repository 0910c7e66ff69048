"""The outbox of a group knows which of its events the stream has, whatever comes first in a rebuild."""

import sqlite3
from contextlib import closing

from shared.adapters.sqlite.views.tables import SCHEMA
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.ports.rows import JournalRow

ROW = JournalRow("here/low-a@1", "low-a", 1, "evt.here.Low.a", "Low", {}, b"{}", 0)


def test_an_event_that_the_stream_has_is_not_published_when_a_later_event_gives_it_now() -> None:
    """Folds have changed: in the rebuild, the event behind it comes after the place where the stream has it."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        transaction = SqliteViewTransaction(opened)
        transaction.seen_in_stream([(7, ROW.event_id)])
        assert transaction.add_to_outbox([ROW]) == []
        assert transaction.unpublished() == []


def test_an_event_is_published_until_the_stream_has_it() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        transaction = SqliteViewTransaction(opened)
        added = transaction.add_to_outbox([ROW])
        assert [one.row for one in added] == [ROW]
        assert transaction.unpublished() == added
        transaction.seen_in_stream([(7, ROW.event_id)])
        assert transaction.unpublished() == []
