"""A saga as lanes in SVG, as a Mermaid sequence diagram, and as OTLP spans; and two sagas compared."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from rich.console import Console

from shared.context import Context
from shared.export.mermaid import sequence
from shared.export.otlp import traces
from shared.export.rows import CLIENT, Row, rows_of
from shared.export.svg import lanes
from shared.inspect.following import following
from shared.inspect.parting import compare, draw
from shared.inspect.telling import Telling
from shared.inspect.timeline import Ahead, Message, tree, with_ahead
from shared.simulation.testing import Simulation, simulation
from tests.unit.shopping import fill_shelves, order

PAID, POOR, ALIKE = "o-paid", "o-poor", "o-alike"
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulation]:
    with simulation(seed=1) as running:
        fill_shelves(running)
        for key, token in ((PAID, "tok_ok"), (POOR, "tok_poor"), (ALIKE, "tok_ok")):
            running.send(order(token=token), key=key, message_id=f"place-{key}")
            running.run_until_quiet()
        yield running


@pytest.fixture(scope="module")
def telling(shop: Simulation) -> Telling:
    return Telling(member for member in shop._world.members.values() if isinstance(member, Context))


@pytest.fixture(scope="module")
def rows(shop: Simulation, telling: Telling) -> tuple[Row, ...]:
    """The rows of an order that is paid, and something that lies ahead of it."""
    messages = shop.events(PAID)
    shipped = next(message for message in messages if message.type == "OrderShipped")
    waits = Ahead(
        kind="wait", context="shipping", text="waits; #1", after=shipped.id, then=("shipping.OrderDelivered",)
    )
    return rows_of(with_ahead(tree(messages), [waits]), telling)


def test_each_row_stands_below_its_cause_and_what_lies_ahead_is_last(rows: tuple[Row, ...]) -> None:
    assert (rows[0].lane, rows[0].title, rows[0].cause) == (CLIENT, f"command place-{PAID}", None)
    assert (rows[1].lane, rows[1].title, rows[1].cause) == ("ordering", "OrderPlaced", 0)
    assert all(row.cause is None or row.cause < number for number, row in enumerate(rows))
    assert rows[-1].ahead is not None
    assert rows[-1].cause is not None
    assert rows[rows[-1].cause].title == "OrderShipped"


def test_a_cause_that_is_not_in_the_log_has_a_row() -> None:
    orphan = Message(
        id="b", caused_by="a", kind="evt", context="here", type="B", key="k", at=NINE, stream="EVENTS", sequence=1
    )
    assert [row.title for row in rows_of(tree([orphan]), Telling())] == ["not in the log: a", "B"]


def test_lanes_have_a_note_for_each_row_none_of_which_covers_another(rows: tuple[Row, ...]) -> None:
    root = ET.fromstring(lanes(rows, "a < b"))
    assert root.findtext(f"{SVG}title") == "a < b"
    heads = [text.text for text in root.iter(f"{SVG}text") if text.get("class") == "head"]
    assert heads[:2] == [CLIENT, "ordering"]
    assert {*heads} == {row.lane for row in rows}
    notes = [rect for rect in root.iter(f"{SVG}rect") if rect.get("rx") is not None]
    assert len(notes) == len(rows)
    tops = [float(note.attrib["y"]) for note in notes]
    heights = [float(note.attrib["height"]) for note in notes]
    assert all(top + height < below for top, height, below in zip(tops, heights, tops[1:], strict=False))
    assert [note.get("stroke-dasharray") for note in notes if note.get("stroke-dasharray")] == ["5 4"]
    arrows = [path for path in root.iter(f"{SVG}path") if path.get("class") == "arrow"]
    assert len(arrows) == sum(row.cause is not None for row in rows)


def test_a_sequence_diagram_sends_each_event_once_to_each_context_that_reacts(rows: tuple[Row, ...]) -> None:
    drawn = sequence(rows)
    assert drawn[:3] == ["sequenceDiagram", "  actor L0 as client", "  participant L1 as ordering"]
    assert f"  L0->>L1: command place-{PAID}" in drawn
    sent = [line for line in drawn if "->>" in line]
    assert len(sent) == len({*sent})
    noted = [line for line in drawn if "Note over" in line]
    assert len(noted) == len(rows) - 1
    assert noted[-1].endswith(": … waits#59; #35;1, then shipping.OrderDelivered")
    assert drawn[-1] == "  end"


def test_spans_are_what_the_json_mapping_of_otlp_asks_for(rows: tuple[Row, ...]) -> None:
    """Hex ids, 64-bit numbers as strings, enums as numbers, names in lowerCamelCase; each parent is in the trace."""
    data = traces(rows, PAID)
    assert traces(rows, PAID) == data
    assert [*data] == ["resourceSpans"]
    spans = []
    for resource in data["resourceSpans"]:
        assert {*resource} == {"resource", "scopeSpans"}
        assert [one["key"] for one in resource["resource"]["attributes"]] == ["service.name"]
        for scope in resource["scopeSpans"]:
            assert scope["scope"] == {"name": "chorus"}
            spans += scope["spans"]
    assert len(spans) == sum(row.message is not None for row in rows)
    assert len({span["spanId"] for span in spans}) == len(spans)
    assert len({span["traceId"] for span in spans}) == 1
    for span in spans:
        assert re.fullmatch(r"[0-9a-f]{32}", span["traceId"])
        assert re.fullmatch(r"[0-9a-f]{16}", span["spanId"])
        assert span["kind"] in (1, 5)
        assert int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"])
        assert all([*one] == ["key", "value"] and [*one["value"]] == ["stringValue"] for one in span["attributes"])
    parents = {span["parentSpanId"] for span in spans if "parentSpanId" in span}
    assert parents < {span["spanId"] for span in spans}
    assert [span["name"] for span in spans if "parentSpanId" not in span] == ["OrderPlaced"]


def test_two_sagas_part_at_the_first_message_that_one_of_them_lacks(shop: Simulation, telling: Telling) -> None:
    comparison = compare(shop.events(PAID), shop.events(POOR), telling)
    assert comparison.parting == (
        "they part after payments.AuthorizationRequested: o-paid goes on with payments.PaymentAuthorized, o-poor goes"
        " on with payments.PaymentFailed authorize insufficient_funds"
    )
    both = [pair.event for pair in comparison.pairs if pair.left and pair.right]
    assert {"ordering.OrderPlaced", "inventory.InventoryReserved"} <= {*both}
    assert "ordering.OrderConfirmed" in [pair.event for pair in comparison.pairs if pair.left and not pair.right]
    assert "ordering.OrderCancelled" in [pair.event for pair in comparison.pairs if pair.right and not pair.left]


def test_sagas_with_the_same_messages_do_not_part_whatever_their_times(shop: Simulation, telling: Telling) -> None:
    comparison = compare(shop.events(PAID), shop.events(ALIKE), telling)
    assert comparison.parting == ""
    assert all(pair.left and pair.right for pair in comparison.pairs)


def test_a_saga_without_a_common_message_parts_at_the_beginning(shop: Simulation, telling: Telling) -> None:
    first, second = (shop.events(key)[:1] for key in (PAID, POOR))
    other = [one for one in shop.events(POOR) if one.type == "PaymentFailed"]
    assert compare(first, second, telling).parting == ""
    assert compare(first, other, telling).parting.startswith(
        "they part at the beginning: o-paid goes on with ordering."
    )


def test_the_comparison_marks_each_message_that_one_saga_lacks(shop: Simulation, telling: Telling) -> None:
    console = Console(width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(compare(shop.events(PAID), shop.events(POOR), telling), PAID, POOR))
    lines = captured.get().splitlines()
    assert lines[0].split() == [PAID, POOR]
    marks = {line.split()[-1].partition(" ")[0]: line[0] for line in lines[1:] if "Order" in line}
    assert marks["ordering.OrderPlaced"] == " "
    assert marks["ordering.OrderConfirmed"] == "-"
    assert any(line.startswith("+") and "ordering.OrderCancelled payment_failed" in line for line in lines)


async def first_two(shop: Simulation) -> list[list[str]]:
    """The types of the messages that are there, and of those that come once more has happened."""
    seen: list[list[str]] = []
    async for messages in following(shop._broker, "o-followed"):
        seen.append([message.type for message in messages])
        if "OrderShipped" in seen[-1]:
            return seen
    raise AssertionError("it never ends")


def test_a_saga_is_followed_until_nobody_asks_any_more(shop: Simulation) -> None:
    shop.send(order(), key="o-followed")
    seen = shop.run(first_two(shop))
    assert seen[0] == []
    told = [name for names in seen for name in names]
    assert told == [message.type for message in sorted(shop.events("o-followed"), key=lambda one: one.at)][: len(told)]
    assert len(told) > 5
