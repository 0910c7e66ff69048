from datetime import UTC, datetime, timedelta
from typing import Annotated

from msgspec import Struct
from rich.console import Console

from shared.context import Aggregate, Context, Decider
from shared.inspect.timeline.drawing import draw
from shared.inspect.timeline.told_fields import ToldFields
from shared.inspect.timeline.tree import Message, message_of, steps, tree
from shared.ports.broker import Stored
from shared.wire.messages import TOLD

NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)


def message(name: str, caused_by: str, sequence: int, *, commanded: bool = False, body: bytes = b"{}") -> Message:
    return Message(
        id=name,
        caused_by=caused_by,
        commanded=commanded,
        kind="evt",
        context="ordering",
        type=name,
        key="o-1",
        at=NINE + timedelta(milliseconds=sequence),
        stream="EVENTS",
        sequence=sequence,
        body=body,
    )


class PaymentFailed(Struct, frozen=True, kw_only=True):
    order_id: str
    stage: Annotated[str, TOLD]
    reason: Annotated[str, TOLD]
    note: str


PAYMENT = Aggregate(
    name="payment", key="order_id", state=Struct, events=(PaymentFailed,), evolve=lambda state, _: state
)
TELLING = ToldFields(
    [Context(name="ordering", deciders=(Decider(aggregate=PAYMENT, commands=(), decide=lambda *_: ()),))]
)

PLACED = message("Placed", "place-o-1", 1, commanded=True)
RESERVED = message("Reserved", "Placed", 2)
AUTHORIZED = message("Authorized", "Placed", 4)
CAPTURED = message("Captured", "Authorized", 7)


def outline(*messages: Message) -> list[tuple[int, str]]:
    return [(step.depth, step.node.id) for step in steps(tree(messages))]


def test_what_caused_what_is_read_from_the_top_down() -> None:
    expected = [(0, "place-o-1"), (1, "Placed"), (2, "Reserved"), (2, "Authorized"), (3, "Captured")]
    assert outline(PLACED, RESERVED, AUTHORIZED, CAPTURED) == expected
    assert outline(CAPTURED, AUTHORIZED, RESERVED, PLACED) == expected


def test_the_command_that_began_it_is_the_root() -> None:
    (root,) = tree((PLACED, RESERVED))
    assert root.message is None
    assert root.is_command


def test_a_cause_that_is_not_in_the_log_becomes_a_root_but_no_command() -> None:
    (root,) = tree((RESERVED, AUTHORIZED))
    assert (root.id, root.is_command) == ("Placed", False)
    assert [node.id for node in root.leads_to] == ["Reserved", "Authorized"]


def test_times_count_from_the_first_message_and_from_the_cause() -> None:
    times = {step.node.id: (step.after, step.took) for step in steps(tree((PLACED, AUTHORIZED, CAPTURED)))}
    assert times["place-o-1"] == (None, None)
    assert times["Placed"] == (timedelta(0), None)
    assert times["Captured"] == (timedelta(milliseconds=6), timedelta(milliseconds=3))


def test_a_second_copy_is_counted_and_not_drawn_again() -> None:
    again = message("Placed", "place-o-1", 9, commanded=True)
    assert outline(PLACED, again) == [(0, "place-o-1"), (1, "Placed")]
    assert tree((PLACED, again))[0].leads_to[0].copies == 2


def test_forged_causes_that_go_in_circles_are_drawn_once_each() -> None:
    first, second, itself = message("A", "B", 1), message("B", "A", 2), message("C", "C", 3)
    assert sorted(outline(first, second, itself)) == [(0, "B"), (0, "C"), (1, "A")]


def test_an_own_cause_is_the_highest_edition_and_not_the_stranger_under_its_id() -> None:
    stranger = message("ordering/order-o-1@1", "", 1)
    placed = message("ordering/order-o-1@1.2", "place-o-1", 2, commanded=True)
    confirmed = message("ordering/order-o-1@2", "ordering/order-o-1@1", 3)
    assert outline(stranger, placed, confirmed) == [
        (0, "ordering/order-o-1@1"),
        (0, "place-o-1"),
        (1, "ordering/order-o-1@1.2"),
        (2, "ordering/order-o-1@2"),
    ]


def test_a_message_without_a_cause_stands_alone() -> None:
    assert outline(message("Lost", "", 1)) == [(0, "Lost")]


def test_a_long_chain_does_not_end_in_recursion() -> None:
    chain = [message(f"m{n}", f"m{n - 1}", n) for n in range(1, 3000)]
    assert outline(*chain)[-1] == (2999, "m2999")


def test_no_messages_are_no_trees() -> None:
    assert tree(()) == ()
    assert outline() == []


def test_a_due_timer_is_known_by_its_timer_id_and_a_nameless_message_by_its_place() -> None:
    due = Stored(5, NINE, "due.ordering.Deadline.2.o-1", {"Timer-Id": "t", "Causation-Id": "Placed"}, b"{}")
    assert (message_of("TIMERS", due).id, message_of("TIMERS", due).caused_by) == ("t", "Placed")
    nameless = message_of("EVENTS", Stored(7, NINE, "evt.ordering.Placed.2.o-1", {}, b"{}"))
    assert nameless.id == "EVENTS@2026-11-21T09:00:00.000000Z/7"
    assert outline(nameless, message("Reserved", nameless.id, 8)) == [(0, nameless.id), (1, "Reserved")]


def test_a_body_tells_only_what_fits_in_a_line() -> None:
    failed = message("PaymentFailed", "", 1, body=b'{"reason":"declined","order_id":"o-1","stage":"o-1","note":"?"}')
    assert TELLING.of(failed) == {"reason": "declined"}
    assert TELLING.of(message("PaymentFailed", "", 1, body=b"{")) == {}
    assert TELLING.of(message("PaymentFailed", "", 1, body=b"[1]")) == {}


def test_of_a_message_of_an_unknown_context_only_its_name_is_reported() -> None:
    failed = message("PaymentFailed", "", 1, body=b'{"reason":"declined"}')
    assert ToldFields().of(failed) == {}


def test_the_drawing_is_plain_in_a_pipe_and_fits_eighty_columns() -> None:
    refused = message("PaymentFailed", "Authorized", 9, body=b'{"reason":"insufficient_funds","stage":"authorize"}')
    console = Console(width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(draw(tree((PLACED, RESERVED, AUTHORIZED, refused)), told_fields=TELLING))
    assert [line.rstrip() for line in captured.get().splitlines()] == [
        "               command place-o-1",
        "0.0 ms         └ ordering.Placed",
        "1.0 ms +1.0 ms   ├ ordering.Reserved",
        "3.0 ms +3.0 ms   └ ordering.Authorized",
        "8.0 ms +5.0 ms     └ ordering.PaymentFailed authorize insufficient_funds",
    ]
