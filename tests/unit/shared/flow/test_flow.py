"""`chorus flow` draws the graph of a system from its code: of a whole system, of one saga, or after one event."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import Struct
from rich.console import Console

from contexts.sagas import ORDER, PURCHASE, SAGAS
from shared import catalog
from shared.config.settings import Settings
from shared.context import Policy
from shared.flow.drawing.board import board
from shared.flow.drawing.layers import heights_of
from shared.flow.drawing.mermaid import flowchart
from shared.flow.drawing.svg import drawing
from shared.flow.drawing.text import lists, trees
from shared.flow.graph import Reaction, UnknownNameError, derive, saga_named
from shared.flow.outcomes import outcomes
from shared.flow.selection import Selection, after, of_saga, sentence, whole
from shared.wire.engine_events import CommandRejected
from tests.other_system import chorus, write_travel

NAMES = ("ordering", "inventory", "notifications", "payments", "shipping")
"""The contexts that these tests are about; a further one changes none of their graphs."""

SHOP = derive({name: member for name, member in catalog.contexts(Settings()).items() if name in (*NAMES, "bank")})


def reactions_to(event: str) -> set[tuple[str, str, tuple[str, ...]]]:
    return {(reaction.kind, reaction.name, reaction.commands) for reaction in SHOP.heard(event)}


def lines(selection: Selection) -> list[str]:
    console = Console(width=200, force_terminal=False)
    with console.capture() as captured:
        console.print(*(trees(SHOP, selection) if selection.first else lists(selection)), sep="\n")
    return [line.rstrip() for line in captured.get().splitlines()]


def test_policies_deadlines_and_calls_are_the_reactions_to_an_event() -> None:
    assert reactions_to("ordering.OrderPlaced") == {
        ("policy", "whenever_order_placed_reserve_its_lines", ("inventory.ReserveStock",)),
        ("policy", "whenever_order_placed_confirm_its_receipt", ("notifications.ConfirmReceipt",)),
        ("policy", "whenever_order_placed_authorize_its_total", ("payments.AuthorizePayment",)),
        ("timer", "OrderDeadline", ("ordering.ExpireOrder",)),
    }
    (call,) = SHOP.heard("payments.VoidRequested")
    assert (call.kind, call.name, call.asks, call.commands) == ("call", "void", ("bank",), ("payments.RecordVoided",))


def test_a_helper_that_is_handed_the_command_is_read_for_this_command_only() -> None:
    """Of the four commands that `_refunding` answers, each leads to its own event."""
    payments = outcomes(SHOP.contexts["payments"])
    assert payments["RecordRefunded"] == {"PaymentRefunded", "RefundRequested"}
    assert payments["RecordRefundRefused"] == {"RefundFailed"}
    assert payments["RetryRefund"] == payments["RetryDueRefund"] == {"RefundRequested"}


def test_every_event_of_the_shop_is_said_by_a_decision() -> None:
    assert {*SHOP.aggregates} - {event for events in SHOP.leads_to.values() for event in events} == set()


def test_a_decider_without_source_may_lead_to_every_event_of_its_aggregate(tmp_path: Path) -> None:
    write_travel(tmp_path)
    worker = tmp_path / "travel/contexts/hotels/worker.py"
    worker.write_text(worker.read_text().replace("decide=judge", "decide=lambda *asked: judge(*asked)"))
    said = json.loads(chorus(tmp_path, "flow", "--json").stdout)
    events = {one["command"]: one["events"] for one in said["commands"]}
    assert events["hotels.ReleaseRoom"] == ["hotels.RoomReserved", "hotels.RoomRefused", "hotels.RoomReleased"]


def test_a_saga_has_only_events_of_its_key() -> None:
    selection = of_saga(SHOP, ORDER, SAGAS)
    events = {event for panel in selection.panels for event in panel.notes}
    assert {"ordering.OrderPlaced", "payments.PaymentRefunded", "shipping.OrderDelivered"} <= events
    assert not {event for event in events if SHOP.aggregates[event].key != "order_id"}


def test_a_saga_ends_at_its_ends() -> None:
    selection = of_saga(SHOP, PURCHASE, SAGAS)
    assert "ordering.OrderConfirmed" in {event for panel in selection.panels for event in panel.notes}
    heard = {cause.on for panel in selection.panels for causes in panel.commands.values() for cause in causes}
    assert "ordering.OrderPlaced" in heard
    assert not heard & {"ordering.OrderConfirmed", "ordering.OrderCancelled"}


def test_after_an_event_stands_what_can_follow() -> None:
    assert lines(after(SHOP, "shipping.OrderDelivered")) == [
        "shipping.OrderDelivered",
        "├── notifications: whenever order delivered tell the customer, TellCustomer",
        "│   ├── notifications.NotificationHeld",
        "│   └── notifications.NotificationQueued",
        "│       └── notifications: the outside answers mail, RecordSent or RecordNotSent",
        "│           ├── notifications.CustomerNotified",
        "│           └── notifications.NotificationFailed",
        "└── ordering: whenever order delivered record it, RecordDelivery",
        "    ├── ordering.OrderCancellationRejected",
        "    │   └── notifications: whenever cancellation rejected tell the customer, TellCustomer",
        "    │       ├── notifications.NotificationHeld",
        "    │       └── notifications.NotificationQueued …",
        "    └── ordering.DeliveryRecorded",
    ]


def test_the_tree_of_a_saga_follows_each_event_once_and_has_the_commands_of_clients() -> None:
    drawn = lines(of_saga(SHOP, ORDER, SAGAS))
    refund = "payments: bank answers refund, RecordRefunded or RecordRefundRefused"
    assert len([line for line in drawn if line.endswith(refund)]) == 1
    assert "a client sends shipping.ReportDelivered" in drawn
    assert "a client sends ordering.PlaceOrder" not in drawn
    end = "ordering.DeliveryRecorded  end: delivered"
    assert [line.strip("│├└─ ") for line in drawn if "DeliveryRecorded" in line] == [end]


def test_a_context_lists_its_commands_with_their_reasons_and_events() -> None:
    drawn = lines(whole(SHOP))
    at = drawn.index("  ExpireOrder")
    assert drawn[at : at + 4] == [
        "  ExpireOrder",
        "    OrderDeadline is due on OrderPlaced",
        "    ExtendedDeadline is due on OrderDeadlineExtended",
        "    → OrderCancelled  heard by inventory, notifications, payments, shipping",
    ]
    assert [line for line in drawn if line and not line.startswith(" ")] == sorted(SHOP.contexts)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("OrderPlacd", "no context publishes an event 'OrderPlacd' (did you mean 'OrderPlaced'?)"),
        ("ordering.OrderPlacd", "'ordering.OrderPlacd' (did you mean 'ordering.OrderPlaced'?)"),
        ("x", "no context publishes an event 'x'; chorus flow lists the events"),
    ],
)
def test_an_event_that_nobody_publishes_is_reported_with_one_that_is(name: str, told: str) -> None:
    with pytest.raises(UnknownNameError) as raised:
        SHOP.event(name)
    assert told in str(raised.value)


def test_an_event_may_be_named_without_its_context() -> None:
    assert SHOP.event("OrderPlaced") == SHOP.event("ordering.OrderPlaced") == "ordering.OrderPlaced"


def whenever_refused_forget_it(_event: CommandRejected) -> list[Struct]:
    return []


def test_an_event_of_the_engine_is_known_where_it_is_heard() -> None:
    hears = [Policy(source, CommandRejected, whenever_refused_forget_it) for source in ("ordering", "shipping")]
    flow = derive({**SHOP.contexts, "ordering": replace(SHOP.contexts["ordering"], policies=(*hears,))})
    assert flow.event("shipping.CommandRejected") == "shipping.CommandRejected"
    assert "shipping.CommandRejected" in flow.leads_to["shipping.ReportLost"]
    with pytest.raises(UnknownNameError, match="several contexts publish 'CommandRejected'; name one"):
        flow.event("CommandRejected")


def test_a_saga_that_is_not_declared_is_reported_with_those_that_are() -> None:
    assert saga_named((ORDER, PURCHASE), "order") is ORDER
    with pytest.raises(UnknownNameError, match=r"no saga 'ordr' \(did you mean 'order'\?\)"):
        saga_named((ORDER, PURCHASE), "ordr")
    with pytest.raises(UnknownNameError, match=r"no saga 'x'; there are order, purchase"):
        saga_named((ORDER, PURCHASE), "x")


def test_no_arrow_of_the_mermaid_drawing_leaves_its_context() -> None:
    drawn = flowchart(map(board, of_saga(SHOP, ORDER, SAGAS).panels))
    assert drawn[0] == "flowchart LR"
    assert [line for line in drawn if line.startswith("  subgraph")] == [
        f'  subgraph c{number}["{name}"]' for number, name in enumerate(NAMES)
    ]
    arrows = [line.split(" --> ") for line in drawn if " --> " in line]
    assert arrows
    assert {source.strip().partition("n")[0] == target.partition("n")[0] for source, target in arrows} == {True}
    assert '    c0n1(["a client sends it"]):::clientNote' in drawn


@pytest.mark.parametrize("selection", [whole(SHOP), of_saga(SHOP, ORDER, SAGAS)], ids=["whole", "saga"])
def test_the_picture_is_svg_in_which_no_note_covers_another(selection: Selection) -> None:
    root = ET.fromstring(drawing(map(board, selection.panels), "a < b"))
    name = "{http://www.w3.org/2000/svg}"
    assert root.tag == f"{name}svg"
    assert root.findtext(f"{name}title") == "a < b"
    frames = root.findall(f"{name}g")
    assert len(frames) == len(selection.panels)
    for frame in frames:
        notes = [rect for rect in frame.iter(f"{name}rect") if rect.get("class") is None]
        columns: dict[str, list[tuple[float, float]]] = {}
        for note in notes:
            columns.setdefault(note.attrib["x"], []).append((float(note.attrib["y"]), float(note.attrib["height"])))
        for column in columns.values():
            assert all(top + height < below for (top, height), (below, _) in pairwise(sorted(column)))
    assert "http" not in drawing(map(board, selection.panels), "").replace("http://www.w3.org/2000/svg", "")


def test_boxes_stand_beside_their_neighbours() -> None:
    """The two arrows would cross if the second column kept its sequence."""
    tops = heights_of([[0, 1], [2, 3]], dict.fromkeys(range(4), 10.0), [(0, 3), (1, 2)], gap=5.0)
    assert tops == {0: 0.0, 3: 0.0, 1: 15.0, 2: 15.0}


def test_a_policy_whose_name_is_no_sentence_is_called_a_policy() -> None:
    assert sentence(Reaction("policy", "here", "react", "here.Asked", (), len)) == "policy react"


def test_the_command_draws_another_system_in_every_format(tmp_path: Path) -> None:
    write_travel(tmp_path)
    assert "whenever flight reserved reserve a room on flights.FlightReserved" in chorus(tmp_path, "flow").stdout
    assert chorus(tmp_path, "flow", "--saga", "trip").stdout.splitlines()[0] == "flights.FlightReserved  end: reserved"
    page = chorus(tmp_path, "flow", "--format", "markdown").stdout
    assert "## The saga trip\n" in page
    row = "| hotels | flights | published language, with an anticorruption layer | `RoomRefused` |"
    assert f"{row} `travel/contexts/hotels/events.py`, `travel/contexts/flights/upstream.py` |" in page
    assert chorus(tmp_path, "flow", "--format", "mermaid").stdout.startswith("flowchart LR\n")
    assert chorus(tmp_path, "flow", "--from", "RoomRefused", "--format", "svg").stdout.startswith("<svg ")
    said = json.loads(chorus(tmp_path, "flow", "--from", "hotels.RoomRefused", "--json").stdout)
    (first,) = (reaction for reaction in said["reactions"] if reaction["on"] == "hotels.RoomRefused")
    assert first == {
        "context": "flights",
        "kind": "policy",
        "name": "whenever_room_refused_release_the_flight",
        "on": "hotels.RoomRefused",
        "command": "flights.ReleaseFlight",
        "asks": [],
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "RoomRefusd"), "did you mean 'RoomRefused'"),
        (("--saga", "tripp"), "did you mean 'trip'"),
        (("--saga", "trip", "--from", "RoomRefused"), "give one of them"),
        (("--format", "markdown", "--saga", "trip"), "leave --saga and --from away"),
        (("--format", "png"), "png"),
    ],
    ids=" ".join,
)
def test_a_wrong_selection_exits_64_with_one_line_that_helps(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    write_travel(tmp_path)
    said = chorus(tmp_path, "flow", *words)
    assert (said.returncode, said.stdout) == (64, "")
    assert told in said.stderr
    assert len(said.stderr.splitlines()) == 1
