"""A page of the read side costs what it shows: each query reads an index from its end, and sorts nothing."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from contexts.insights.projections import CUSTOMERS, ORDERS, PAYMENTS, STOCK
from contexts.insights.topologies import topologies
from contexts.insights.upstream import PaymentSucceeded
from contexts.kernel import Money, OrderId, PaymentId
from shared.adapters.sqlite.views.reader import SqliteViewReader
from shared.adapters.sqlite.views.tables import SCHEMA, make_tables
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.groups.fold.flow_state import FlowState
from shared.groups.fold.flowing import Flowing
from shared.groups.read.intake import Heard
from shared.readside.group import Group
from shared.readside.views import Told, View

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
GROUP = Group(name="projection", tables=(ORDERS, CUSTOMERS, STOCK, PAYMENTS))


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        make_tables(opened, GROUP)
        yield opened


@pytest.mark.parametrize(
    "ask",
    [
        lambda view: view.row("orders", "o-1"),
        lambda view: view.page("orders", at_most=50),
        lambda view: view.page("orders", where={"customer_id": "c-1"}, after=7, at_most=50),
        lambda view: view.page("orders", where={"state": "SHIPPED"}, at_most=50),
        lambda view: view.page("orders", where={"sku": "mug", "state": "SHIPPED"}, after=7, at_most=50),
        lambda view: view.search("orders", "ann bern", after=7, at_most=50),
        lambda view: view.search("orders", "ann bern", where={"customer_id": "c-1"}, after=7, at_most=50),
        lambda view: view.changed_since("orders", 7, "o-1", at_most=1000),
    ],
    ids=["row", "all", "customer", "state", "article", "search", "search of a customer", "changed"],
)
def test_a_query_reads_an_index_and_sorts_nothing(
    connection: sqlite3.Connection, ask: Callable[[View], object]
) -> None:
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    ask(SqliteViewReader(connection, GROUP))
    connection.set_trace_callback(None)
    (query,) = [one for one in seen if one.startswith("SELECT") and " v_orders" in one]
    steps = [step for *_, step in connection.execute(f"EXPLAIN QUERY PLAN {query}")]
    assert not any("TEMP B-TREE" in step for step in steps), steps
    # A scan without a condition reads from the end, and stops after a page.
    assert " WHERE " not in query or not any(
        step.startswith("SCAN v_orders") and "VIRTUAL" not in step for step in steps
    )


def test_a_search_asks_for_each_word_once_in_an_index_of_beginnings(connection: sqlite3.Connection) -> None:
    seen: list[str] = []
    connection.set_trace_callback(seen.append)
    SqliteViewReader(connection, GROUP).search("orders", "a o-1 a a", at_most=50)
    connection.set_trace_callback(None)
    assert any("""MATCH '"a"* AND "o"* AND "1"*'""" in query for query in seen), seen
    (declared,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'v_orders_text'").fetchone()
    assert "prefix='1 2 3'" in declared


def statements_of_a_batch(orders: int) -> list[str]:
    """The statements on the state of topologies for a batch in which so many orders were placed and paid."""
    group = Group(name="analytics", topologies=topologies(timedelta(days=1)))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        opened.executescript(SCHEMA)
        make_tables(opened, group)
        seen: list[str] = []
        flowing, state = Flowing(group.topologies), FlowState(SqliteViewTransaction(opened))
        money = Money(amount_minor=500, currency="EUR")
        heard = [
            Heard(("payments", "PaymentSucceeded"), f"payments/payment-o-{n}@1", Told(n, f"o-{n}", AT), paid, {})
            for n in range(orders)
            for paid in [PaymentSucceeded(order_id=OrderId(f"o-{n}"), payment_id=PaymentId(f"pay-o-{n}"), amount=money)]
        ]
        opened.set_trace_callback(seen.append)
        flowing.flow(heard, state)
        opened.set_trace_callback(None)
        assert flowing.poison == []
        return [one for one in seen if one.startswith("SELECT key, entry, due") or "AND key = " in one]


def test_a_batch_asks_for_the_state_of_its_keys_once_for_each_place() -> None:
    few, many = statements_of_a_batch(3), statements_of_a_batch(300)
    assert len(few) == len(many) > 0
