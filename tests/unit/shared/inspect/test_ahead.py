"""A timeline also lists open calls, awaited commands and the events that may be next."""

from collections.abc import Iterator

import pytest

from contexts.sagas import SAGAS
from shared.flow.graph import derive
from shared.inspect.timeline.drawing import ahead_text
from shared.inspect.timeline.tree import Ahead, steps, tree, with_ahead
from shared.inspect.why.ahead import ahead_of
from shared.inspect.why.evidence import Evidence, collect
from shared.simulation.testing import Simulation, simulation
from shared.wire.about import About, UnpublishedEvent
from shared.wire.messages import MSG_ID, rfc3339
from tests.saying import said
from tests.unit.shopping import fill_shelves, order

PARTITIONS = 2
KEY = "o-1"


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(partitions=PARTITIONS) as running:
        fill_shelves(running)
        yield running


def ahead(shop: Simulation) -> dict[str, list[str]]:
    """All that lies ahead, by the event below which the tree has it."""
    members = shop._world.members
    contexts = [*members.values()]
    evidence = shop.run(collect(shop._broker, contexts, KEY, PARTITIONS, shop.now))
    found: dict[str, list[str]] = {}
    parents: list[str] = []
    for step in steps(with_ahead(tree(evidence.messages), ahead_of(evidence, derive(members), SAGAS))):
        del parents[step.depth :]
        parents.append(step.node.message.type if step.node.message else "")
        if step.node.ahead is not None:
            found.setdefault(parents[-2] if step.depth else "", []).append(ahead_text(step.node.ahead))
    return found


def place(shop: Simulation, **changes: str) -> None:
    shop.send(order(**changes), key=KEY, message_id="m-1")  # type: ignore[arg-type]


def test_an_open_call_is_reported_with_its_attempts_and_its_outcomes(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=30)
    assert ahead(shop) == {
        "AuthorizationRequested": [
            "… payments: bank was asked 9 times: nats: no responders available for request, then"
            " payments.PaymentAuthorized or payments.CaptureRequested or payments.PaymentFailed"
        ],
        "OrderPlaced": ["… ordering: OrderDeadline is due in 0:14:30, then ordering.OrderCancelled"],
    }


def test_reactions_of_a_context_that_is_down_are_reported_below_each_event(shop: Simulation) -> None:
    shop.kill("payments")
    place(shop)
    shop.advance(seconds=5)
    assert ahead(shop) == {
        "OrderPlaced": [
            "… payments: it does not run, then payments.AuthorizationRequested",
            "… ordering: OrderDeadline is due in 0:14:55, then ordering.OrderCancelled",
        ],
        "InventoryReserved": [
            "… payments: it does not run, then payments.ReservationNoted or payments.CaptureRequested"
        ],
    }


def test_a_command_that_nobody_has_decided_is_reported_although_there_is_no_event(shop: Simulation) -> None:
    shop.kill("ordering")
    place(shop)
    assert ahead(shop) == {"": ["… ordering: the command PlaceOrder waits: it does not run, then ordering.OrderPlaced"]}


def test_a_parked_event_is_reported_below_it(shop: Simulation) -> None:
    shop.publish(f"evt.payments.PaymentSucceeded.{KEY}", b"x", {**said(KEY), MSG_ID: f"payments/payment-{KEY}@1"})
    place(shop)
    shop.advance(seconds=5)
    assert "… ordering: it is parked, then ordering.OrderConfirmed" in ahead(shop)["PaymentSucceeded"]


def test_an_event_that_the_broker_refuses_is_reported(shop: Simulation) -> None:
    shop.publish(f"evt.payments.Anything.{KEY}", b"{}", {MSG_ID: f"payments/payment-{KEY}@1"})
    place(shop)
    shop.advance(seconds=5)
    (refused,) = [text for text in ahead(shop)[""] if "AuthorizationRequested" in text]
    assert refused.startswith("… payments: AuthorizationRequested is decided and not published, and the broker refuses")


def test_an_event_that_the_stream_has_is_no_more_unpublished(shop: Simulation) -> None:
    """An idle context says for a moment that its last event is unpublished."""
    place(shop)
    shop.run_until(KEY, "OrderPlaced")
    row = UnpublishedEvent(number="ordering/r1", id=f"ordering/order-{KEY}@1", type="OrderPlaced", since="", refused="")
    later = UnpublishedEvent(number="ordering/r2", id=f"ordering/order-{KEY}@2", type="Later", since="", refused="")
    about = About(context="ordering", key=KEY, process="p", partition=0, at=rfc3339(shop.now), unpublished=(row, later))
    messages = tuple(shop.events(KEY))
    evidence = Evidence(key=KEY, at=shop.now, messages=messages, commands=(), answers={"ordering": about})
    told = [one.text for one in ahead_of(evidence, derive(shop._world.members), SAGAS)]
    assert "Later is decided and not published" in told
    assert "OrderPlaced is decided and not published" not in told


def test_a_deadline_that_would_find_nothing_to_do_is_left_out(shop: Simulation) -> None:
    """The deadline of the order is still armed, and the order is confirmed."""
    place(shop)
    shop.run_until_quiet()
    assert ahead(shop) == {
        "OrderShipped": [
            "… shipping: a client may send ReportDelivered, then shipping.OrderDelivered",
            "… shipping: a client may send ReportLost, then shipping.ShipmentFailed",
            "… shipping: a client may send ReportReturned, then shipping.ShipmentFailed",
            "… shipping: ParcelSilence is due in 13 days, 23:59:59, then shipping.ParcelOverdue",
        ]
    }


def test_a_context_that_does_not_run_may_hold_something_that_nobody_else_knows(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=5)
    shop.kill("payments")
    assert ahead(shop)[""] == ["… payments: it does not run, so what it waits for is unknown"]


def test_nothing_lies_ahead_of_a_saga_that_has_ended(shop: Simulation) -> None:
    place(shop, token="tok_poor")
    shop.run_until_quiet()
    assert ahead(shop) == {}


def test_what_follows_no_known_message_stands_as_a_root() -> None:
    (root,) = with_ahead((), [Ahead(kind="wait", context="here", text="it does not run", after="gone")])
    assert root.ahead is not None
    assert [step.depth for step in steps([root])] == [0]
