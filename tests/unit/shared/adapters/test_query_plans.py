"""The cost of a commit does not grow with the journal: no statement of a running worker reads a whole table.

SQLite chooses a plan by the statement and the indexes alone, so an empty database has the plans of a full one.
"""

import re
import sqlite3
from collections import Counter
from contextlib import closing
from itertools import chain

import pytest

from contexts.kernel import CustomerId, MethodToken, Money, Sku, SkuQuantity
from contexts.ordering.commands import (
    AddItemsToBasket,
    ChangePrice,
    CheckOutBasket,
    SubmitAddress,
    SubmitPaymentDetails,
)
from shared.adapters.sqlite.journal.tables import INPUTS, SCHEMA
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.simulation.testing import simulation
from tests.unit.shopping import fill_shelves, order

GROWING = ("journal", "inbox", "aggregates", "effects", "inputs")
"""Tables that every message makes longer. The others have a row per partition, or wait for an operator."""

SEVERAL = 5
MANY = 20
READS_AT_MOST = 2
"""A batch reads its aggregates at once, and later those that only a decision names."""
LITERAL = re.compile(r"'(?:[^']|'')*'|\b\d+\b")


@pytest.fixture
def transactions(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The statements of each transaction from now on."""
    seen: list[list[str]] = []
    create = SqliteTransaction.__init__

    def create_traced(self: SqliteTransaction, connection: sqlite3.Connection) -> None:
        create(self, connection)
        seen.append([])
        connection.set_trace_callback(seen[-1].append)

    monkeypatch.setattr(SqliteTransaction, "__init__", create_traced)
    return seen


def repeated_queries(transactions: list[list[str]]) -> dict[str, int]:
    """How often one transaction at the most runs each SELECT, whatever its values."""
    most: Counter[str] = Counter()
    for statements in transactions:
        most |= Counter(LITERAL.sub("?", one) for one in statements if one.startswith("SELECT"))
    return {query: times for query, times in most.items() if times > READS_AT_MOST}


def whole_tables(statements: set[str]) -> list[tuple[str, str]]:
    """(table, statement) of the growing tables that these statements read from end to end."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(f"{SCHEMA}; {INPUTS}")
        plans = [(one, empty.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()) for one in statements]
    return [
        (table, one)
        for one, steps in plans
        for *_, step in steps
        for table in re.findall(r"^SCAN (\w+)", step)
        if table in GROWING
    ]


def test_running_worker_reads_no_table_from_end_to_end(transactions: list[list[str]]) -> None:
    with simulation(partitions=2) as running:
        fill_shelves(running)
        transactions.clear()  # A start may read all of the journal, once.
        for number in range(SEVERAL):
            running.send(order(), key=f"o-{number}", message_id=f"m-{number}")
        running.run_until_quiet()
        seen = set(chain.from_iterable(transactions))
    assert any(one.startswith("UPDATE journal SET published_seq") for one in seen)
    assert whole_tables(seen) == []


def test_no_query_runs_once_per_message(transactions: list[list[str]]) -> None:
    with simulation(partitions=2) as running:
        for number in range(MANY):
            fill_shelves(running, Sku(f"s-{number}"))
        for quantity in (2, 3):  # The second time, every id is reused for other content.
            running.stop("ordering")  # So that it finds all of them at once.
            for number in range(MANY):
                token = "tok_poor" if number % 2 else "tok_ok"  # Half of them are released, by what their state names.
                content = order(quantity=quantity, sku=Sku(f"s-{number}"), token=token)
                running.send(content, key=f"o-{number}", message_id=f"m-{number}")
            running.start("ordering")
            running.run_until_quiet()
            running.advance(minutes=11)  # Past the duplicate window.
    assert repeated_queries(transactions) == {}


def test_no_query_runs_once_per_basket(transactions: list[list[str]]) -> None:
    lines = tuple(SkuQuantity(sku=Sku(f"s-{number}"), quantity=1) for number in range(SEVERAL))
    pays = SubmitPaymentDetails(email="ann@example.com", method_token=MethodToken("tok_ok"))
    with simulation(partitions=2) as running:
        for line in lines:
            fill_shelves(running, line.sku)
        for command in (
            AddItemsToBasket(customer_id=CustomerId("c-1"), lines=lines),
            SubmitAddress(address=order().address),
            pays,
            CheckOutBasket(),
        ):
            running.stop("ordering")
            for number in range(MANY):
                running.send(command, key=f"b-{number}")
            running.start("ordering")
            running.run_until_quiet()
        running.send(ChangePrice(unit_price=Money(amount_minor=1)), key=lines[0].sku)
        running.run_until_quiet()
        assert running.facts("b-0", of="ordering").count("OrderPlaced") == 1
    assert repeated_queries(transactions) == {}


def test_query_that_runs_once_per_message_is_found() -> None:
    queries = [f"SELECT hash FROM inbox WHERE message_id = 'm-{number}'" for number in range(MANY)]
    assert repeated_queries([queries]) == {"SELECT hash FROM inbox WHERE message_id = ?": MANY}


def test_plan_that_reads_a_whole_table_is_found() -> None:
    query = "DELETE FROM refused WHERE n IN (SELECT refused.n FROM refused JOIN journal USING (n) WHERE subject <> '')"
    assert whole_tables({query}) == [("journal", query)]
