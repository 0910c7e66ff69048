"""The tables of a group, folded batch by batch: code of a context that fails sets one event aside, and no more."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

import pytest
from msgspec import Struct

from shared.adapters.sqlite.views.tables import SCHEMA, make_tables
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.groups.fold.folding import Folding
from shared.groups.read.intake import Heard
from shared.readside.group import Group
from shared.readside.views import Follows, On, Table, Told

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)


class ThingDone(Struct, frozen=True):
    """An event."""

    kind: str


class Row(Struct, frozen=True):
    """A row of each table here."""

    kind: str


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        yield opened


def put(_: Row | None, event: ThingDone, __: Told) -> Row:
    return Row(event.kind)


def unless_bad(text: str) -> str:
    if text == "bad":
        raise ZeroDivisionError(text)
    return text


def fold(connection: sqlite3.Connection, *tables: Table) -> list[tuple[int, str]]:
    """Fold a bad event between two good ones; (sequence, reason) of each that is set aside."""
    group = Group(name="things", tables=tables)
    make_tables(connection, group)
    heard = [
        Heard(("here", "ThingDone"), f"here/thing-t-{n}@1", Told(n, f"t-{n}", AT), ThingDone(kind), {})
        for n, kind in enumerate(("good", "bad", "fine"), start=1)
    ]
    transaction = SqliteViewTransaction(connection)
    transaction.set_aside(Folding(group).fold(transaction, heard))
    return connection.execute("SELECT sequence, reason FROM poison").fetchall()


def test_a_change_that_a_following_table_cannot_take_is_set_aside(connection: sqlite3.Connection) -> None:
    things = Table(name="things", row=Row, on=(On("here", ThingDone, put),))
    kinds = Table(
        name="kinds",
        row=Row,
        follows=Follows("things", lambda row: row.kind, lambda _, __, row: Row(unless_bad(row.kind))),
    )
    assert fold(connection, things, kinds) == [(2, "kinds: ZeroDivisionError: bad (here/thing-t-2@1)")]
    assert connection.execute("SELECT key FROM v_kinds ORDER BY key").fetchall() == [("fine",), ("good",)]


def test_a_key_that_a_following_table_cannot_find_is_set_aside(connection: sqlite3.Connection) -> None:
    things = Table(name="things", row=Row, on=(On("here", ThingDone, put),))
    kinds = Table(
        name="kinds",
        row=Row,
        follows=Follows("things", lambda row: unless_bad(row.kind), lambda _, __, row: row),
    )
    assert fold(connection, things, kinds) == [(2, "kinds: ZeroDivisionError: bad (here/thing-t-2@1)")]
    assert connection.execute("SELECT key FROM v_kinds ORDER BY key").fetchall() == [("fine",), ("good",)]


def test_a_row_without_words_or_list_stays_and_all_reasons_are_kept(connection: sqlite3.Connection) -> None:
    things = Table(
        name="things",
        row=Row,
        on=(On("here", ThingDone, put),),
        lists={"kinds": lambda row: [unless_bad(row.kind)]},
        text=lambda row: unless_bad(row.kind),
    )
    because = "things: ZeroDivisionError: bad (here/thing-t-2@1)"
    assert fold(connection, things) == [(2, f"{because}; {because}")]
    assert connection.execute("SELECT key FROM v_things").fetchall() == [("t-1",), ("t-2",), ("t-3",)]
    assert connection.execute("SELECT value FROM v_things_by_kinds").fetchall() == [("fine",), ("good",)]
