"""The cost of a commit does not grow with the journal: no statement of a running worker reads a whole table.

SQLite chooses a plan by the statement and the indexes alone, so an empty database has the plans of a full one.
"""

import re
import sqlite3
from contextlib import closing

import pytest

from shared.adapters.sqlite.journal.tables import SCHEMA
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.simulation.testing import simulation
from tests.unit.shopping import fill_shelves, order

GROWING = ("journal", "inbox", "aggregates", "effects")
"""Tables that every message makes longer. The others have a row per partition, or wait for an operator."""

SEVERAL = 5


@pytest.fixture
def statements(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The statements that transactions run from now on."""
    seen: set[str] = set()
    create = SqliteTransaction.__init__

    def create_traced(self: SqliteTransaction, connection: sqlite3.Connection) -> None:
        create(self, connection)
        connection.set_trace_callback(seen.add)

    monkeypatch.setattr(SqliteTransaction, "__init__", create_traced)
    return seen


def whole_tables(statements: set[str]) -> list[tuple[str, str]]:
    """(table, statement) of the growing tables that these statements read from end to end."""
    with closing(sqlite3.connect(":memory:")) as empty:
        empty.executescript(SCHEMA)
        plans = [(one, empty.execute(f"EXPLAIN QUERY PLAN {one}").fetchall()) for one in statements]
    return [
        (table, one)
        for one, steps in plans
        for *_, step in steps
        for table in re.findall(r"^SCAN (\w+)", step)
        if table in GROWING
    ]


def test_running_worker_reads_no_table_from_end_to_end(statements: set[str]) -> None:
    with simulation(partitions=2) as running:
        fill_shelves(running)
        statements.clear()  # A start may read all of the journal, once.
        for number in range(SEVERAL):
            running.send(order(), key=f"o-{number}", message_id=f"m-{number}")
        running.run_until_quiet()
        seen = set(statements)
    assert any(one.startswith("UPDATE journal SET published_seq") for one in seen)
    assert whole_tables(seen) == []


def test_plan_that_reads_a_whole_table_is_found() -> None:
    query = "DELETE FROM refused WHERE n IN (SELECT refused.n FROM refused JOIN journal USING (n) WHERE subject <> '')"
    assert whole_tables({query}) == [("journal", query)]
