"""`annotate` marks parked and forged messages from the databases on a machine, or from events without them."""

import json
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.cli.commands.timeline import as_json
from shared.inspect.timeline.annotations import Annotations, annotate
from shared.inspect.timeline.drawing import draw
from shared.inspect.timeline.tree import Message, tree
from tests.unit.shared.inspect.test_timeline import NINE, message

PLACED = replace(message("Placed", "place-o-1", 1), id="ordering/order-o-1@1")
SHIPPED = replace(message("Shipped", PLACED.id, 2), id="shipping/shipment-o-1@1", context="shipping")
NINE_NS = int(NINE.timestamp()) * 10**9


@pytest.fixture
async def ordering(tmp_path: Path) -> AsyncIterator[sqlite3.Connection]:
    """The database of ordering with these rows in its journal."""
    store = await SqliteStore.open(tmp_path / "ordering.db", context="ordering")
    await store.close()
    with closing(sqlite3.connect(tmp_path / "ordering.db", isolation_level=None)) as connection:
        row = (PLACED.id, "order-o-1", "evt.ordering.Placed.o-1", "Placed", PLACED.body.decode())
        connection.execute("INSERT INTO journal VALUES (1, ?, ?, 1, ?, ?, '{}', ?, 0, 1)", row)
        yield connection


def park(database: sqlite3.Connection, message_id: str, subject: str, stream: str, sequence: int) -> None:
    columns = "key, partition, stream, seq, at_ns, message_id, subject, headers, body, reason"
    headers = json.dumps({"Correlation-Id": "o-1"})
    row = ("o-1", stream, sequence, NINE_NS, message_id, subject, headers)
    database.execute(f"INSERT INTO parked ({columns}) VALUES (?, 0, ?, ?, ?, ?, ?, ?, x'7b7d', 'a bug')", row)


def told(event: str, sequence: int, about: str) -> Message:
    body = json.dumps({"message_id": about, "subject": "evt", "reason": "a bug"}).encode()
    return replace(message(event, about, sequence, body=body), context="ordering")


def asked(directory: Path, *messages: Message) -> Annotations:
    return annotate(SqliteDatabases(directory), ["bank", "ordering", "shipping"], "o-1", messages)


def drawn(known: Annotations, *messages: Message) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(draw(tree([*messages, *known.missing]), known))
    return captured.get()


def test_an_event_that_its_context_wrote_is_not_marked(tmp_path: Path, ordering: sqlite3.Connection) -> None:
    known = asked(tmp_path, PLACED)
    assert known.journal == {PLACED.id: "same"}
    assert "journal" not in drawn(known, PLACED)
    assert ordering.in_transaction is False


@pytest.mark.usefixtures("ordering")
def test_an_event_that_no_journal_has_is_marked(tmp_path: Path) -> None:
    forged = replace(PLACED, id="ordering/order-zz@1", sequence=3)
    known = asked(tmp_path, PLACED, forged)
    assert "Placed not in ordering's journal" in drawn(known, PLACED, forged)
    steps = {step["id"]: step for step in as_json(tree([PLACED, forged]), known)}
    assert (steps[PLACED.id]["journal"], steps[forged.id]["journal"]) == ("same", "absent")


@pytest.mark.usefixtures("ordering")
def test_an_event_with_another_body_is_marked_though_a_true_copy_is_there(tmp_path: Path) -> None:
    forged = replace(PLACED, sequence=9, body=b'{"total": 1}')
    assert asked(tmp_path, PLACED, forged).journal == {PLACED.id: "other_body"}
    assert asked(tmp_path, forged, PLACED).journal == {PLACED.id: "other_body"}
    assert "differs from ordering's journal" in drawn(asked(tmp_path, PLACED, forged), PLACED, forged)


@pytest.mark.usefixtures("ordering")
def test_of_an_event_whose_database_is_elsewhere_nothing_is_said(tmp_path: Path) -> None:
    known = asked(tmp_path, SHIPPED)
    assert known.journal == {}
    assert as_json(tree([SHIPPED]), known)[1]["journal"] is None


def test_a_parked_event_is_marked_with_the_context_that_parked_it(tmp_path: Path, ordering: sqlite3.Connection) -> None:
    park(ordering, SHIPPED.id, "evt.shipping.Shipped.0.o-1", "EVENTS", SHIPPED.sequence)
    known = asked(tmp_path, PLACED, SHIPPED)
    assert known.parked == {SHIPPED.id: ["ordering"]}
    assert "Shipped parked in ordering" in drawn(known, PLACED, SHIPPED)
    assert known.missing == ()


def test_an_event_without_an_id_is_known_by_its_place(tmp_path: Path, ordering: sqlite3.Connection) -> None:
    nameless = replace(SHIPPED, id="EVENTS@2")
    park(ordering, "EVENTS@2026-11-21T09:00:00Z/2", "evt.shipping.Shipped.0.o-1", "EVENTS", 2)
    assert asked(tmp_path, nameless).parked == {"EVENTS@2": ["ordering"]}


def test_a_parked_command_is_shown_though_the_log_does_not_hold_it(
    tmp_path: Path, ordering: sqlite3.Connection
) -> None:
    park(ordering, "cancel-1", "cmd.ordering.CancelOrder.0.o-1", "COMMANDS", 7)
    known = asked(tmp_path)
    assert "command ordering.CancelOrder parked in ordering" in drawn(known)


def test_without_a_database_events_tell_what_is_parked(tmp_path: Path) -> None:
    parked, unparked = told("MessageParked", 3, SHIPPED.id), told("MessageUnparked", 4, SHIPPED.id)
    assert asked(tmp_path, SHIPPED, parked).parked == {SHIPPED.id: ["ordering"]}
    assert asked(tmp_path, SHIPPED, unparked, parked).parked == {}


@pytest.mark.usefixtures("ordering")
def test_a_database_knows_better_than_events(tmp_path: Path) -> None:
    assert asked(tmp_path, SHIPPED, told("MessageParked", 3, SHIPPED.id)).parked == {}
