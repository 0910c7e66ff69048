"""How sagas end, in virtual time: the whole shop in memory, on its real contexts, engine and databases."""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest

from contexts.kernel import Sku
from contexts.payments.commands import RetryRefund
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned
from shared.ports.broker import BrokerRefusedError
from shared.simulation.testing import Simulation, StillBusyError, simulation
from tests.sagas import (
    CALLED_BACK,
    CAPTURE_REFUSED,
    CONFIRMED,
    DELIVERED,
    JUST_TOO_LATE,
    LOST,
    OUT_OF_STOCK,
    OVERDUE,
    PAYMENT_REFUSED,
    REFUSED_BY_CARRIER,
    REFUSED_BY_CARRIER_AND_REFUNDED_LATE,
    RETURNED,
    SHIPPED,
    TOO_LATE,
    Ending,
    refunded,
    voided,
)
from tests.unit.shopping import (
    CANCEL,
    ON_THE_SHELF,
    TOTAL,
    books,
    ended,
    ending_of,
    fill_shelves,
    level,
    mails,
    money,
    order,
)

SEEDS = (1, pytest.param(2, marks=pytest.mark.long))


@pytest.fixture(params=SEEDS)
def running(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    with simulation(seed=request.param, partitions=2) as opened:
        fill_shelves(opened)
        yield opened


@pytest.fixture(params=SEEDS)
def patient(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A shop that waits an hour before it hands a parcel over."""
    with simulation(seed=request.param, partitions=2, dispatch_delay=timedelta(hours=1)) as opened:
        fill_shelves(opened)
        yield opened


def test_shipped_and_delivered(running: Simulation) -> None:
    """P12, P17, P18: the receipt is mailed, the stock committed, and shipment and delivery are recorded."""
    running.send(order(), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", SHIPPED)
    running.send(ReportDelivered(tracking_no=running.content("o-1", "OrderShipped")["tracking_no"]), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", DELIVERED)
    assert ended(running, "o-1") == "delivered"
    assert mails(running, "o-1")["order_received"]["To"] == "ann@example.com"
    assert (books(running), level(running)) == (money(DELIVERED), (ON_THE_SHELF - 2, 0))


def test_cancelled_because_stock_is_short(running: Simulation) -> None:
    """P10, P22, F1: nothing is reserved, and stock and balances are as before."""
    running.send(order(quantity=ON_THE_SHELF + 1), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", OUT_OF_STOCK)
    assert (books(running), level(running)) == ({}, (ON_THE_SHELF, 0))


@pytest.mark.parametrize("token", ["tok_poor", "tok_declined"])
def test_cancelled_because_the_authorization_is_refused(running: Simulation, token: str) -> None:
    """F2: stock and balances are as before."""
    running.send(order(token=token), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", PAYMENT_REFUSED)
    assert ended(running, "o-1") == "cancelled, the payment refused"
    assert (books(running), level(running)) == ({}, (ON_THE_SHELF, 0))


def test_cancelled_because_the_capture_is_refused(running: Simulation) -> None:
    """F4: the goods are on the shelf again, and nothing is held."""
    running.send(order(token="tok_nocapture"), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", CAPTURE_REFUSED)
    assert (books(running), level(running)) == ({}, (ON_THE_SHELF, 0))


def test_cancelled_by_the_customer_while_pending(running: Simulation) -> None:
    """P24, F5: inventory releases and payments voids."""
    running.stop("payments")
    running.send(order(), key="o-1")
    running.run_until_quiet()
    running.send(CANCEL, key="o-1")
    running.run_until_quiet()
    running.start("payments")
    running.run_until_quiet()
    ending_of(running, "o-1", voided("customer"))
    assert ended(running, "o-1") == "cancelled and voided"


def test_cancelled_before_the_news_of_the_payment_comes(running: Simulation) -> None:
    """F6: ordering decides, and a payment that was captured meanwhile goes back."""
    running.send(order(), key="o-1")
    running.run_until("o-1", "CaptureRequested")
    running.kill("ordering")
    running.run_until_quiet()
    running.send(CANCEL, key="o-1")
    running.start("ordering")
    running.run_until_quiet()
    ending = ending_of(running, "o-1", refunded("customer"), CALLED_BACK, JUST_TOO_LATE)
    assert books(running) == money(ending)


def test_called_back_before_the_dispatch(patient: Simulation) -> None:
    """P27, F7: the order is cancelled once its shipment is."""
    patient.send(order(), key="o-1")
    patient.run_until_quiet()
    ending_of(patient, "o-1", CONFIRMED)
    patient.send(CANCEL, key="o-1")
    patient.run_until_quiet()
    patient.advance(hours=2)
    ending_of(patient, "o-1", CALLED_BACK)
    assert ended(patient, "o-1") == "cancelled and refunded"
    assert (books(patient), level(patient)) == (money(CALLED_BACK), (ON_THE_SHELF, 0))


def test_shipped_in_spite_of_a_cancellation_that_comes_too_late(patient: Simulation) -> None:
    """P16, F9: the parcel leaves when its dispatch is due, and not before."""
    patient.send(order(), key="o-1")
    patient.advance(minutes=59)
    ending_of(patient, "o-1", CONFIRMED)
    patient.advance(minutes=2)
    patient.send(CANCEL, key="o-1")
    patient.run_until_quiet()
    ending_of(patient, "o-1", TOO_LATE)
    assert ended(patient, "o-1") is None


def test_cancelled_because_the_carrier_refuses(running: Simulation) -> None:
    """F10: the goods have not left, and the money goes back."""
    running.send(order(postal_code="0000"), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", REFUSED_BY_CARRIER)


@pytest.mark.parametrize(
    ("report", "ending", "on_hand"),
    [(ReportLost, LOST, ON_THE_SHELF - 2), (ReportReturned, RETURNED, ON_THE_SHELF)],
    ids=["lost", "returned"],
)
def test_cancelled_because_the_parcel_does_not_arrive(
    running: Simulation, report: type[ReportLost | ReportReturned], ending: Ending, on_hand: int
) -> None:
    """P30, P31, P32, F11: refunded, written off or put back, and cancelled."""
    running.send(order(), key="o-1")
    running.run_until_quiet()
    running.send(report(tracking_no=running.content("o-1", "OrderShipped")["tracking_no"]), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", ending)
    assert (books(running), level(running)) == (money(ending), (on_hand, 0))


def test_overdue_until_the_carrier_has_news(running: Simulation) -> None:
    """P56: after 14 days of silence, and again after 28."""
    running.send(order(), key="o-1")
    running.advance(days=13)
    ending_of(running, "o-1", SHIPPED)
    running.advance(days=16)
    ending_of(running, "o-1", OVERDUE)
    first, second = (one for one in running.events("o-1") if one.type == "ParcelOverdue")
    assert (json.loads(first.body)["times"], json.loads(second.body)["times"]) == (1, 2)
    running.send(ReportDelivered(tracking_no=json.loads(first.body)["tracking_no"]), key="o-1")
    running.advance(days=30)
    assert running.facts("o-1", of="shipping")[-1] == "OrderDelivered"
    assert ended(running, "o-1") == "delivered"


def test_expired_while_payments_was_away(running: Simulation) -> None:
    """P29, F12: payments voids once it is back."""
    running.stop("payments")
    running.send(order(), key="o-1")
    running.advance(minutes=14)
    assert running.facts("o-1", of="ordering") == ["OrderPlaced"]
    running.advance(minutes=2)
    assert running.facts("o-1", of="ordering") == ["OrderPlaced", "OrderCancelled"]
    running.start("payments")
    running.run_until_quiet()
    ending_of(running, "o-1", voided("expired"))
    assert books(running) == {}


def test_good_news_that_waits_wins_over_a_deadline_that_passed_meanwhile(running: Simulation) -> None:
    """Even where the timers are read faster than the news."""
    keys = [f"o-{number}" for number in range(20)]
    for key in keys:
        running.send(order(quantity=1), key=key)
    running.run_until(keys[-1], "OrderPlaced")
    running.kill("ordering")
    running.advance(hours=5)
    running.start("ordering")
    running.run_until_quiet()
    for key in keys:
        ending_of(running, key, SHIPPED)


@pytest.mark.parametrize("token", ["tok_lost", "tok_slow"])
def test_charged_once_whatever_the_bank_takes_its_time_over(running: Simulation, token: str) -> None:
    """F14: a lost answer and a slow one are asked for again under the same key."""
    running.send(order(token=token), key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", SHIPPED)
    assert books(running) == money(SHIPPED)


def test_asked_again_while_the_bank_is_away(running: Simulation) -> None:
    """Payments repeats a call until its outcome is known (P34)."""
    running.stop("bank")
    running.send(order(), key="o-1")
    with pytest.raises(StillBusyError, match="payments waits for the outcome of 1 calls"):
        running.run_until_quiet(within=timedelta(minutes=2))
    running.start("bank")
    running.run_until_quiet()
    ending_of(running, "o-1", SHIPPED)
    assert books(running) == money(SHIPPED)


def test_refund_that_is_refused_is_asked_for_again_until_it_is_given(running: Simulation) -> None:
    """P33, F16: each refusal is published, the customer is told of the first one, and the money goes back once."""
    running.send(order(token="tok_norefund", postal_code="0000"), key="o-1")
    running.run_until_quiet()
    assert running.facts("o-1", of="payments")[-1] == "RefundFailed"
    running.advance(seconds=31)
    assert running.facts("o-1", of="payments")[-3:] == ["RefundFailed", "RefundRequested", "RefundFailed"]
    assert books(running) == {"capture": TOTAL}
    running.send(RetryRefund(), key="o-1")
    running.advance(hours=1)
    ending_of(running, "o-1", REFUSED_BY_CARRIER_AND_REFUNDED_LATE)
    assert books(running) == money(REFUSED_BY_CARRIER_AND_REFUNDED_LATE)


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=1)], ids=["inside_the_window", "after_it"])
def test_same_command_twice_has_one_effect(running: Simulation, later: timedelta) -> None:
    """F17, under one id."""
    first = running.send(order(), key="o-1", message_id="click-1")
    running.advance(seconds=later.total_seconds())
    second = running.send(order(), key="o-1", message_id="click-1")
    running.run_until_quiet()
    assert (first.duplicate, second.duplicate) == (False, not later)
    ending_of(running, "o-1", SHIPPED)
    assert books(running) == money(SHIPPED)


def test_two_orders_race_for_the_last_unit_and_one_has_it(running: Simulation) -> None:
    rare = Sku("rare")
    fill_shelves(running, rare, 1)
    for key in ("o-1", "o-2"):
        running.send(order(sku=rare, quantity=1), key=key)
    running.run_until_quiet()
    endings = [ending_of(running, key, SHIPPED, OUT_OF_STOCK) for key in ("o-1", "o-2")]
    assert endings.count(SHIPPED) == 1
    assert level(running, rare) == (0, 0)


def test_flood_is_refused_at_the_door_and_what_was_taken_is_decided() -> None:
    with simulation(seed=1, partitions=2) as running:
        fill_shelves(running, quantity=1)
        running.stop("ordering")
        running.server.stream("COMMANDS").configure({**running.server.stream("COMMANDS").config, "max_msgs": 3})
        for number in range(3):
            running.send(order(), key=f"o-{number}")
        with pytest.raises(BrokerRefusedError) as refused:
            running.send(order(), key="o-3")
        assert refused.value.code == 10077
        running.start("ordering")
        running.run_until_quiet()
        for number in range(3):
            ending_of(running, f"o-{number}", OUT_OF_STOCK)


def test_weeks_pass_in_seconds() -> None:
    with simulation(seed=1, partitions=2) as running:
        fill_shelves(running)
        for day in range(21):
            running.send(order(quantity=1, token="tok_norefund" if day % 7 == 0 else "tok_ok"), key=f"o-{day}")
            running.advance(days=1)
        ending_of(running, "o-20", SHIPPED)
        assert level(running) == (ON_THE_SHELF - 21, 0)


def test_events_of_the_bank_belong_to_the_saga_that_asked(running: Simulation) -> None:
    running.send(order(), key="o-asks")
    running.run_until_quiet()
    headers = [json.loads(text) for (text,) in running.rows("bank", "SELECT headers FROM journal")]
    assert {of_event["Correlation-Id"] for of_event in headers} == {"o-asks"}
    causes = {of_event["Causation-Id"].partition("@")[0] for of_event in headers}
    assert causes == {"payments/payment-o-asks"}
