"""`chorus why` names the cause and the remedy, whatever a saga waits for."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from msgspec.structs import replace

from contexts.inventory.commands import ReplenishStock
from contexts.sagas import SAGAS
from shared.inspect.timeline.standings import standings
from shared.inspect.why.causes import Cause, Kind
from shared.inspect.why.evidence import Evidence, collect
from shared.inspect.why.explanation import Explanation, explain
from shared.simulation.testing import Simulation, simulation
from shared.wire.about import About
from shared.wire.messages import MSG_ID
from tests.saying import said
from tests.unit.shopping import MUG, fill_shelves, order

PARTITIONS = 2
KEY = "o-1"


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(partitions=PARTITIONS) as running:
        fill_shelves(running)
        yield running


def gathered(shop: Simulation, key: str) -> Evidence:
    contexts = [*shop._world.members.values()]
    return shop.run(collect(shop._broker, contexts, key, PARTITIONS, shop.now))


def why(shop: Simulation, key: str = KEY) -> Explanation:
    evidence = gathered(shop, key)
    return explain(evidence, shop._world.members, SAGAS, standings(SAGAS, evidence.messages, evidence.at))


def first(shop: Simulation) -> Cause:
    explanation = why(shop)
    assert explanation.is_trouble
    return explanation.causes[0]


def place(shop: Simulation, token: str = "tok_ok") -> None:
    shop.send(order(token=token), key=KEY, message_id="m-1")


def test_service_that_is_down_is_named_with_the_attempts_and_the_next_one(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=30)
    cause = first(shop)
    assert (cause.kind, cause.context) == (Kind.CALL_OPEN, "payments")
    assert cause.text.startswith("payments has asked bank 9 times because of AuthorizationRequested, since 09:00:0")
    assert "no responders" in cause.text
    assert "; it asks again in " in cause.text
    assert cause.remedy == "is bank running? chorus worker bank"


def test_context_that_is_down_is_named_with_the_events_it_has_not_read(shop: Simulation) -> None:
    shop.kill("payments")
    place(shop)
    shop.advance(seconds=5)
    cause = first(shop)
    assert cause.kind is Kind.CONTEXT_DOWN
    assert (
        cause.text
        == "payments does not run, and has not reacted to ordering.OrderPlaced and inventory.InventoryReserved"
    )
    assert cause.remedy == "chorus worker payments"


def test_context_that_is_down_with_a_call_open_is_named(shop: Simulation) -> None:
    """It has reacted to all events, and only it knows that it has a call open."""
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=5)
    shop.kill("payments")
    cause = first(shop)
    assert cause.text == f"payments does not run, so what it does about {KEY} is unknown"
    assert cause.remedy == "chorus worker payments"


def test_command_that_waits_for_a_context_that_is_down_is_named(shop: Simulation) -> None:
    shop.kill("ordering")
    place(shop)
    cause = first(shop)
    assert cause.text == "ordering does not run, and has not reacted to ordering.PlaceOrder"


def test_parked_message_is_named_with_its_reason(shop: Simulation) -> None:
    shop.publish(f"evt.payments.PaymentSucceeded.{KEY}", b"x", {**said(KEY), MSG_ID: f"payments/payment-{KEY}@1"})
    place(shop)
    shop.advance(seconds=5)
    cause = first(shop)
    assert (cause.kind, cause.context) == (Kind.PARKED, "ordering")
    assert "not JSON" in cause.text
    assert cause.remedy == f"fix the cause, then chorus parked retry {KEY}"


def test_event_that_the_broker_refuses_is_named_with_the_reason(shop: Simulation) -> None:
    shop.publish(f"evt.payments.Anything.{KEY}", b"{}", {MSG_ID: f"payments/payment-{KEY}@1"})
    place(shop)
    shop.advance(seconds=5)
    cause = first(shop)
    assert (cause.kind, cause.context) == (Kind.PUBLICATION_REFUSED, "payments")
    assert "AuthorizationRequested, which the broker refuses: EVENTS has another message under the id" in cause.text
    assert cause.remedy.startswith("chorus parked show payments/r")


def test_event_that_is_in_its_stream_is_not_told_as_unpublished(shop: Simulation) -> None:
    """The worker records only after a moment that the broker has it."""
    place(shop)
    shop.run_until(KEY, "OrderShipped")
    evidence = gathered(shop, KEY)
    said = [message.id for message in evidence.messages]
    unpublished = [
        event.id for answer in evidence.answers.values() if isinstance(answer, About) for event in answer.unpublished
    ]
    assert {*unpublished} & {*said}, "the test asks too late"
    texts = [cause.text for cause in explain(evidence, shop._world.members, SAGAS, ()).causes]
    assert not [text for text in texts if "shipping has decided OrderShipped" in text]


def test_missing_consumer_is_named_with_its_remedy(shop: Simulation) -> None:
    for partition in range(PARTITIONS):
        shop.server.delete_consumer("EVENTS", f"payments-{partition}")
    place(shop)
    shop.advance(seconds=30)
    cause = first(shop)
    assert cause.kind is Kind.CONSUMER_MISSING
    assert cause.text.startswith("payments reads nothing: its consumer EVENTS/payments-")
    assert cause.remedy == "chorus streams apply"


def test_parcel_that_nobody_reports_waits_for_a_command(shop: Simulation) -> None:
    place(shop)
    shop.run_until_quiet()
    explanation = why(shop)
    assert not explanation.is_trouble
    cause = explanation.causes[0]
    assert cause.kind is Kind.WAITS_FOR_COMMAND
    assert cause.text == (
        "nothing of it is under way; a command brings it on:"
        " shipping.ReportDelivered or shipping.ReportLost or shipping.ReportReturned"
    )


def test_deadline_is_reported_last(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=30)
    cause = why(shop).causes[-1]
    assert (cause.kind, cause.context) == (Kind.DEADLINE_ARMED, "ordering")
    assert cause.text == "ordering has set OrderDeadline, which is due in 0:14:30"


def test_deadline_that_the_server_does_not_fire_is_armed_again_by_reconcile(shop: Simulation) -> None:
    shop.kill("bank")
    place(shop)
    shop.advance(seconds=30)
    assert why(shop).causes[-1].remedy == ""
    shop.publish(f"timer.ordering.OrderDeadline.{KEY}", b"{}")
    shop.advance(minutes=20)
    cause = why(shop).causes[-1]
    assert (cause.kind, cause.remedy) == (Kind.DEADLINE_ARMED, "chorus reconcile ordering")


def test_stray_event_begins_no_saga_and_leaves_nothing_open(shop: Simulation) -> None:
    shop.publish(f"evt.payments.PaymentVoided.{KEY}", b"{}", {MSG_ID: f"payments/payment-{KEY}@1"})
    shop.run_until_quiet()
    explanation = why(shop)
    assert [cause.kind for cause in explanation.causes] == [Kind.NOTHING_BEGUN]
    assert not explanation.is_trouble


def test_saga_that_goes_on_though_nobody_has_anything_of_it_is_trouble(shop: Simulation) -> None:
    """It cannot happen while the databases are those of the stream."""
    place(shop)
    shop.run_until_quiet()
    evidence = gathered(shop, KEY)
    forgotten = {
        name: replace(answer, aggregates=(), deadlines=())
        for name, answer in evidence.answers.items()
        if isinstance(answer, About)
    }
    explanation = explain(replace(evidence, answers=forgotten), shop._world.members, SAGAS, ())
    (cause,) = explanation.causes
    assert cause.kind is Kind.STRANDED
    assert cause.remedy == f"chorus timeline {KEY}; chorus reconcile --dry-run"


def test_deadline_that_would_do_nothing_is_not_reported(shop: Simulation) -> None:
    """The order is confirmed, so its deadline has nothing to expire."""
    place(shop)
    shop.run_until_quiet()
    assert not [cause.text for cause in why(shop).causes if "OrderDeadline" in cause.text]


def test_first_call_that_is_not_answered_for_long_is_trouble() -> None:
    with simulation(partitions=PARTITIONS, bank_slow=timedelta(seconds=8)) as shop:
        fill_shelves(shop)
        place(shop, token="tok_slow")
        shop.advance(seconds=1)
        assert why(shop).causes[0].kind is Kind.UNDER_WAY
        shop.advance(seconds=3)
        cause = first(shop)
        assert cause.kind is Kind.CALL_OPEN
        assert cause.text.startswith("payments has asked bank because of AuthorizationRequested and has had no answer")
        assert cause.remedy == "does bank run, and is it well? chorus health bank"


def test_ended_saga_waits_for_nothing(shop: Simulation) -> None:
    shop.send(order(token="tok_poor"), key=KEY, message_id="m-1")
    shop.run_until_quiet()
    explanation = why(shop)
    assert [cause.kind for cause in explanation.causes] == [Kind.ENDED]
    assert not explanation.is_trouble


def test_unknown_key_is_reported(shop: Simulation) -> None:
    explanation = why(shop, "nobody")
    assert [cause.kind for cause in explanation.causes] == [Kind.UNKNOWN_KEY]
    assert explanation.is_trouble


def test_context_that_has_not_come_to_an_event_is_named_with_how_far_it_is_behind(shop: Simulation) -> None:
    place(shop)
    shop.run_until_quiet()
    evidence = gathered(shop, KEY)
    answer = evidence.answers["shipping"]
    assert isinstance(answer, About)
    behind = tuple(replace(one, sequence=0, behind=300) for one in answer.positions if one.stream == "EVENTS")
    answers = {**evidence.answers, "shipping": replace(answer, positions=behind)}
    cause = explain(replace(evidence, answers=answers), shop._world.members, SAGAS, ()).causes[0]
    assert cause.kind is Kind.CONTEXT_SLOW
    heard = "inventory.InventoryReserved, payments.PaymentSucceeded and ordering.OrderConfirmed"
    assert cause.text == f"shipping has not come to {heard} yet, 300 messages behind"
    assert cause.remedy == "chorus health shipping"


def test_order_on_backorder_is_on_hold_until_its_article_is_replenished(shop: Simulation) -> None:
    shop.send(order(quantity=1000, allow_backorder=True), key=KEY, message_id="m-1")
    shop.run_until_quiet()
    explanation = why(shop)
    assert not explanation.is_trouble
    cause = explanation.causes[0]
    assert cause.kind is Kind.PAUSED
    assert cause.text == (
        f"it is on hold since inventory.InventoryBackordered at 09:00:00 UTC, until inventory.ReplenishStock of {MUG}"
    )
    assert cause.remedy == f"chorus send inventory.ReplenishStock {MUG} --help"
    assert [cause.kind for cause in explanation.causes[1:]] == [Kind.DEADLINE_ARMED] * 2
    shop.send(ReplenishStock(quantity=2000, delivery_id="d-2"), key=MUG)
    shop.run_until(KEY, "OrderConfirmed")
    assert Kind.PAUSED not in [cause.kind for cause in why(shop).causes]
