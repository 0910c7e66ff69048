"""Runs topologies on a database in memory, event after event: a test of one needs no server and no clock.

from contexts.here.topologies import COUNTS
from contexts.here.upstream import ThingDone

def test_things_are_counted_per_minute() -> None:
    flow = Flow(COUNTS)
    flow.hear("here", ThingDone(thing_id="t-1"), "t-1", at="2026-11-28T09:00:10Z")
    flow.hear("here", ThingDone(thing_id="t-2"), "t-2", at="2026-11-28T09:02:00Z")
    assert flow.rows("counts") == {"20261128T0900Z": {"things": 1, "final": True}, …}
"""

import json
import sqlite3
import weakref
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from shared.adapters.sqlite.views.reader import SqliteViewReader
from shared.adapters.sqlite.views.tables import SCHEMA, make_tables, table_name
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.groups.fold.flow_state import FlowState
from shared.groups.fold.flowing import Flowing
from shared.groups.read.intake import Heard
from shared.readside.dataflow import Topology
from shared.readside.group import Group
from shared.readside.views import Told


class Flow:
    """Some topologies and the events that they have heard; each event is a batch of its own."""

    def __init__(self, *topologies: Topology) -> None:
        self.said: list[Struct] = []
        """The events that the topologies have published."""
        self.poison: list[str] = []
        """Why events were set aside."""
        self._group = Group(name="flow", topologies=topologies)
        self._connection = sqlite3.connect(":memory:", isolation_level=None)
        weakref.finalize(self, self._connection.close)
        self._connection.executescript(SCHEMA)
        make_tables(self._connection, self._group)
        self._flowing = Flowing(topologies)
        self._sequence = 0

    def hear(self, context: str, event: Struct, key: str, *, at: str) -> None:
        """Run one event through; `at` is the time at which it occurred, in UTC unless it says otherwise."""
        self._sequence += 1
        time = datetime.fromisoformat(at)
        told = Told(self._sequence, key, time if time.tzinfo else time.replace(tzinfo=UTC))
        identity = f"{context}/heard-{key}@{self._sequence}"
        heard = Heard((context, type(event).__name__), identity, told, event, {})
        state = FlowState(SqliteViewTransaction(self._connection))
        self.said += [one.event for one in self._flowing.flow([heard], state)]
        self.poison += [one.reason for one in self._flowing.poison]
        state.flush()

    def rows(self, table: str) -> Mapping[str, Any]:
        """The rows of a table by key."""
        found = self._connection.execute(f"SELECT key, row FROM {table_name(table)} ORDER BY n")  # noqa: S608 - our own name.
        return {key: json.loads(row) for key, row in found}

    @property
    def counts(self) -> Mapping[str, int]:
        """How many records were late or unmatched: the number by `<place> <what>`."""
        counts = SqliteViewReader(self._connection, self._group).counts()
        return {f"{one.place} {one.what}": one.number for one in counts}
