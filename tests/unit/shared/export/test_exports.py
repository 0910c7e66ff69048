"""A saga as lanes in SVG, as a Mermaid sequence diagram, and as OTLP spans; and two sagas compared."""

import base64
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf import json_format
from opentelemetry.proto.trace.v1.trace_pb2 import Span, TracesData
from rich.console import Console, Group

from shared.cli.commands.timeline_follow import LastLines
from shared.export.gantt import AHEAD_FROM, WIDTH, bars
from shared.export.mermaid import sequence
from shared.export.otlp import traces
from shared.export.rows import CLIENT, Row, rows_of
from shared.export.svg import lanes
from shared.inspect.timeline.comparison import compare, draw
from shared.inspect.timeline.following import following
from shared.inspect.timeline.told_fields import ToldFields
from shared.inspect.timeline.tree import Ahead, Message, tree, with_ahead
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
def told_fields(shop: Simulation) -> ToldFields:
    return ToldFields(shop._world.members.values())


@pytest.fixture(scope="module")
def rows(shop: Simulation, told_fields: ToldFields) -> tuple[Row, ...]:
    """The rows of an order that is paid, and something that lies ahead of it."""
    messages = shop.events(PAID)
    shipped = next(message for message in messages if message.type == "OrderShipped")
    waits = Ahead(
        kind="wait", context="shipping", text="waits; #1", after=shipped.id, then=("shipping.OrderDelivered",)
    )
    return rows_of(with_ahead(tree(messages), [waits]), told_fields)


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
    assert [row.title for row in rows_of(tree([orphan]), ToldFields())] == ["not in the log: a", "B"]


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


def test_spans_fit_the_schema_of_otlp(rows: tuple[Row, ...]) -> None:
    """Its JSON differs from that of protobuf in one thing: ids are in hex, not in base64."""
    data = traces(rows, PAID)
    assert traces(rows, PAID) == data
    text = re.sub(r'(Id": )"([0-9a-f]+)"', lambda found: f'{found[1]}"{base64_of(found[2])}"', json.dumps(data))
    parsed = json_format.Parse(text, TracesData(), ignore_unknown_fields=False)
    assert {one.resource.attributes[0].key for one in parsed.resource_spans} == {"service.name"}
    spans = [span for one in parsed.resource_spans for scope in one.scope_spans for span in scope.spans]
    assert len(spans) == sum(row.message is not None for row in rows)
    assert len({span.span_id for span in spans}) == len(spans)
    assert {(len(span.trace_id), len(span.span_id)) for span in spans} == {(16, 8)}
    assert len({span.trace_id for span in spans}) == 1
    assert all(0 < span.start_time_unix_nano <= span.end_time_unix_nano for span in spans)
    roots = [span for span in spans if not span.parent_span_id]
    assert [span.name for span in roots] == ["OrderPlaced"]
    assert {span.parent_span_id for span in spans} - {b""} < {span.span_id for span in spans}
    confirmed = next(span for span in spans if span.name == "OrderConfirmed")
    assert confirmed.kind == Span.SPAN_KIND_CONSUMER
    paid = next(span for span in spans if span.name == "PaymentSucceeded")
    assert (confirmed.parent_span_id, confirmed.start_time_unix_nano) == (paid.span_id, paid.end_time_unix_nano)


def base64_of(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


def test_two_sagas_part_at_the_first_message_that_one_of_them_lacks(shop: Simulation, told_fields: ToldFields) -> None:
    comparison = compare(shop.events(PAID), shop.events(POOR), told_fields)
    assert comparison.parting == (
        "they part after payments.AuthorizationRequested: o-paid goes on with payments.PaymentAuthorized, o-poor goes"
        " on with payments.PaymentFailed authorize insufficient_funds"
    )
    both = [pair.event for pair in comparison.pairs if pair.left and pair.right]
    assert {"ordering.OrderPlaced", "inventory.InventoryReserved"} <= {*both}
    assert "ordering.OrderConfirmed" in [pair.event for pair in comparison.pairs if pair.left and not pair.right]
    assert "ordering.OrderCancelled" in [pair.event for pair in comparison.pairs if pair.right and not pair.left]
    letters = [pair for pair in comparison.pairs if pair.event == "notifications.CustomerNotified"]
    assert [(bool(pair.left), bool(pair.right)) for pair in letters].count((True, True)) == 1, "order_received"


def test_sagas_with_the_same_messages_do_not_part_whatever_their_times(
    shop: Simulation, told_fields: ToldFields
) -> None:
    comparison = compare(shop.events(PAID), shop.events(ALIKE), told_fields)
    assert comparison.parting == ""
    assert all(pair.left and pair.right for pair in comparison.pairs)


def test_a_saga_without_a_common_message_parts_at_the_beginning(shop: Simulation, told_fields: ToldFields) -> None:
    first, second = (shop.events(key)[:1] for key in (PAID, POOR))
    other = [one for one in shop.events(POOR) if one.type == "PaymentFailed"]
    assert compare(first, second, told_fields).parting == ""
    assert compare(first, other, told_fields).parting.startswith(
        "they part at the beginning: o-paid goes on with ordering."
    )


def test_the_comparison_marks_each_message_that_one_saga_lacks(shop: Simulation, told_fields: ToldFields) -> None:
    console = Console(width=100, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(compare(shop.events(PAID), shop.events(POOR), told_fields), PAID, POOR))
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


def test_a_tree_that_is_higher_than_the_terminal_shows_its_end() -> None:
    console = Console(width=20, height=4, force_terminal=False)
    with console.capture() as captured:
        console.print(LastLines(Group(*(f"line {number}" for number in range(9)))))
    assert captured.get().splitlines() == ["line 6", "line 7", "line 8"]


def test_bar_reaches_from_the_cause_to_the_message(rows: tuple[Row, ...]) -> None:
    drawn = bars(rows)
    assert [bar.row for bar in drawn] == list(rows)
    for bar in drawn:
        assert 0 <= bar.left <= bar.left + bar.width <= WIDTH
        if bar.row.cause is not None and bar.row.ahead is None and bar.width > 4:
            cause = drawn[bar.row.cause]
            assert bar.left == pytest.approx(cause.left + cause.width, abs=5)
    assert max(bar.left + bar.width for bar in drawn if bar.row.ahead is None) == pytest.approx(AHEAD_FROM)
    assert (drawn[-1].look, drawn[-1].left + drawn[-1].width) == ("ahead", WIDTH)


def test_days_do_not_hide_milliseconds(shop: Simulation, told_fields: ToldFields) -> None:
    messages = shop.events(PAID)
    last = replace(messages[-1], at=messages[-1].at + timedelta(days=3))
    drawn = bars(rows_of(tree([*messages[:-1], last]), told_fields))
    assert len({round(bar.left + bar.width) for bar in drawn}) > len(messages) / 2
    assert drawn[-1].left + drawn[-1].width == pytest.approx(WIDTH)


def test_saga_of_one_message_has_a_bar() -> None:
    message = Message(
        id="a/b-c@1", caused_by="", kind="evt", context="a", type="Done", key="c", at=NINE, stream="EVENTS", sequence=1
    )
    (bar,) = bars(rows_of(tree([message]), ToldFields()))
    assert (bar.left, bar.width > 0, bar.look) == (0, True, "event")
