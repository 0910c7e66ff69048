"""How sagas end, at the speed of a unit test: the whole shop in memory, on its real contexts, engine and databases."""

from collections.abc import Iterator
from datetime import timedelta
from time import process_time

import pytest

from contexts.kernel import Sku
from contexts.payments.commands import RetryRefund
from contexts.shipping.commands import ReportDelivered, ReportLost, ReportReturned
from shared.ports.broker import BrokerRefusedError
from shared.simulation.testing import Simulation, StillBusyError, simulation
from tests.unit.shopping import CANCEL, ON_THE_SHELF, PRICE, books, ended, fill_shelves, level, mails, order, told

SEEDS = (1, 2)
TOTAL = 2 * PRICE.amount_minor

PLACED = ["OrderPlaced"]
CONFIRMED = [*PLACED, "OrderConfirmed"]
CANCELLED = [*PLACED, "OrderCancelled"]
CALLED_BACK = [*CONFIRMED, "OrderCancellationRequested", "OrderCancelled"]
UNDELIVERABLE = [*CONFIRMED, "OrderCancelled"]
RETURNED = [*CONFIRMED, "ShipmentRecorded", "OrderCancelled"]

RESERVED = ["InventoryReserved"]
RELEASED = [*RESERVED, "InventoryReleased"]
COMMITTED = [*RESERVED, "StockCommitted"]

HELD = ["AuthorizationRequested", "PaymentAuthorized"]
TAKEN = [*HELD, "CaptureRequested", "PaymentSucceeded"]
REFUNDED = [*TAKEN, "RefundRequested", "PaymentRefunded"]
VOIDED_EARLY = ["AuthorizationRequested", "VoidRequested", "PaymentAuthorized", "PaymentVoided"]

SCHEDULED = ["DeliveryScheduled"]
SHIPPED = [*SCHEDULED, "DispatchRequested", "OrderShipped"]
STOPPED = ["ShipmentCancelled"]


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
    running.send(order(), key="o-1")
    running.run_until_quiet()
    tracking_no = running.content("o-1", "OrderShipped")["tracking_no"]
    running.send(ReportDelivered(tracking_no=tracking_no), key="o-1")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": [*CONFIRMED, "ShipmentRecorded", "DeliveryRecorded"],
        "inventory": COMMITTED,
        "payments": TAKEN,
        "shipping": [*SHIPPED, "OrderDelivered"],
    }
    assert ended(running, "o-1") == "delivered"
    assert set(mails(running, "o-1")) == {"order_received", "order_confirmed", "order_shipped", "order_delivered"}
    assert mails(running, "o-1")["order_received"]["To"] == "ann@example.com"
    assert (books(running), level(running)) == ({"capture": TOTAL}, (ON_THE_SHELF - 2, 0))


def test_cancelled_because_stock_is_short(running: Simulation) -> None:
    """F1."""
    running.send(order(quantity=ON_THE_SHELF + 1), key="o-1")
    running.run_until_quiet()
    said = told(running, "o-1")
    assert said["payments"] in (VOIDED_EARLY, [*HELD, "VoidRequested", "PaymentVoided"], ["PaymentVoided"])
    assert {**said, "payments": []} == {
        "ordering": CANCELLED,
        "inventory": ["InventoryRejected"],
        "payments": [],
        "shipping": STOPPED,
    }
    assert running.content("o-1", "OrderCancelled")["reason"] == "out_of_stock"
    assert (books(running), level(running)) == ({}, (ON_THE_SHELF, 0))


@pytest.mark.parametrize("token", ["tok_poor", "tok_declined"])
def test_cancelled_because_the_authorization_is_refused(running: Simulation, token: str) -> None:
    """F2."""
    running.send(order(token=token), key="o-1")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": CANCELLED,
        "inventory": RELEASED,
        "payments": ["AuthorizationRequested", "PaymentFailed"],
        "shipping": STOPPED,
    }
    assert ended(running, "o-1") == "cancelled, the payment refused"
    assert (books(running), level(running)) == ({}, (ON_THE_SHELF, 0))


def test_cancelled_because_the_capture_is_refused(running: Simulation) -> None:
    """F4."""
    running.send(order(token="tok_nocapture"), key="o-1")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": CANCELLED,
        "inventory": RELEASED,
        "payments": [*HELD, "CaptureRequested", "PaymentFailed", "VoidRequested", "PaymentVoided"],
        "shipping": STOPPED,
    }
    assert (books(running), level(running)) == ({}, (ON_THE_SHELF, 0))


def test_cancelled_by_the_customer_while_pending(running: Simulation) -> None:
    """F5."""
    running.stop("payments")
    running.send(order(), key="o-1")
    running.run_until_quiet()
    running.send(CANCEL, key="o-1")
    running.run_until_quiet()
    running.start("payments")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": CANCELLED,
        "inventory": RELEASED,
        "payments": VOIDED_EARLY,
        "shipping": STOPPED,
    }
    assert ended(running, "o-1") == "cancelled and voided"
    assert running.content("o-1", "OrderCancelled")["reason"] == "customer"


def test_cancelled_before_the_news_of_the_payment_comes(running: Simulation) -> None:
    """F6: ordering decides; what was captured meanwhile goes back."""
    running.send(order(), key="o-1")
    running.run_until("o-1", "CaptureRequested")
    running.kill("ordering")
    running.run_until_quiet()
    running.send(CANCEL, key="o-1")
    running.start("ordering")
    running.run_until_quiet()
    said = told(running, "o-1")
    asked_too_late = [*CONFIRMED, "OrderCancellationRequested", *TOO_LATE]
    assert said["ordering"] in (CANCELLED, CALLED_BACK, asked_too_late, [*CONFIRMED, *TOO_LATE])
    refunded = "OrderCancelled" in said["ordering"]
    assert said["payments"] == (REFUNDED if refunded else TAKEN)
    assert said["inventory"] == (RELEASED if refunded else COMMITTED)


TOO_LATE = ["ShipmentRecorded", "OrderCancellationRejected"]


def test_called_back_before_the_dispatch(patient: Simulation) -> None:
    """F7."""
    patient.send(order(), key="o-1")
    patient.run_until_quiet()
    assert told(patient, "o-1")["shipping"] == SCHEDULED
    patient.send(CANCEL, key="o-1")
    patient.run_until_quiet()
    patient.advance(hours=2)
    assert told(patient, "o-1") == {
        "ordering": CALLED_BACK,
        "inventory": RELEASED,
        "payments": REFUNDED,
        "shipping": [*SCHEDULED, "ShipmentCancelled"],
    }
    assert ended(patient, "o-1") == "cancelled and refunded"
    assert (books(patient), level(patient)) == ({"capture": TOTAL, "refund": TOTAL}, (ON_THE_SHELF, 0))


def test_shipped_in_spite_of_a_cancellation_that_comes_too_late(patient: Simulation) -> None:
    """F9."""
    patient.send(order(), key="o-1")
    patient.advance(minutes=59)
    assert told(patient, "o-1")["shipping"] == SCHEDULED
    patient.advance(minutes=2)
    patient.send(CANCEL, key="o-1")
    patient.run_until_quiet()
    assert told(patient, "o-1") == {
        "ordering": [*CONFIRMED, "ShipmentRecorded", "OrderCancellationRejected"],
        "inventory": COMMITTED,
        "payments": TAKEN,
        "shipping": SHIPPED,
    }
    assert ended(patient, "o-1") is None


def test_cancelled_because_the_carrier_refuses(running: Simulation) -> None:
    """F10."""
    running.send(order(postal_code="0000"), key="o-1")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": UNDELIVERABLE,
        "inventory": RELEASED,
        "payments": REFUNDED,
        "shipping": [*SCHEDULED, "DispatchRequested", "ShipmentFailed"],
    }


@pytest.mark.parametrize(
    ("report", "inventory", "on_hand"),
    [
        (ReportLost, [*COMMITTED, "StockWrittenOff"], ON_THE_SHELF - 2),
        (ReportReturned, [*COMMITTED, "InventoryReleased"], ON_THE_SHELF),
    ],
)
def test_cancelled_because_the_parcel_does_not_arrive(
    running: Simulation, report: type[ReportLost | ReportReturned], inventory: list[str], on_hand: int
) -> None:
    """F11."""
    running.send(order(), key="o-1")
    running.run_until_quiet()
    running.send(report(tracking_no=running.content("o-1", "OrderShipped")["tracking_no"]), key="o-1")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": RETURNED,
        "inventory": inventory,
        "payments": REFUNDED,
        "shipping": [*SHIPPED, "ShipmentFailed"],
    }
    assert (books(running), level(running)) == ({"capture": TOTAL, "refund": TOTAL}, (on_hand, 0))


def test_expired_while_payments_was_away(running: Simulation) -> None:
    """F12."""
    running.stop("payments")
    running.send(order(), key="o-1")
    running.advance(minutes=14)
    assert told(running, "o-1")["ordering"] == PLACED
    running.advance(minutes=2)
    assert told(running, "o-1")["ordering"] == CANCELLED
    running.start("payments")
    running.run_until_quiet()
    assert told(running, "o-1") == {
        "ordering": CANCELLED,
        "inventory": RELEASED,
        "payments": VOIDED_EARLY,
        "shipping": STOPPED,
    }
    assert running.content("o-1", "OrderCancelled")["reason"] == "expired"
    assert books(running) == {}


def test_good_news_that_waits_wins_over_a_deadline_that_passed_meanwhile(running: Simulation) -> None:
    """R15, also where the timers are read faster than the news."""
    keys = [f"o-{number}" for number in range(20)]
    for key in keys:
        running.send(order(quantity=1), key=key)
    running.run_until(keys[-1], "OrderPlaced")
    running.kill("ordering")
    running.advance(hours=5)
    running.start("ordering")
    running.run_until_quiet()
    assert [told(running, key)["ordering"] for key in keys] == [[*CONFIRMED, "ShipmentRecorded"]] * len(keys)


@pytest.mark.parametrize("token", ["tok_lost", "tok_slow"])
def test_charged_once_whatever_the_bank_takes_its_time_over(running: Simulation, token: str) -> None:
    """F14."""
    running.send(order(token=token), key="o-1")
    running.run_until_quiet()
    assert told(running, "o-1")["payments"] == TAKEN
    assert books(running) == {"capture": TOTAL}


def test_asked_again_while_the_bank_is_away(running: Simulation) -> None:
    """P34."""
    running.stop("bank")
    running.send(order(), key="o-1")
    with pytest.raises(StillBusyError, match="payments waits for the outcome of 1 calls"):
        running.run_until_quiet(within=timedelta(minutes=2))
    running.start("bank")
    running.run_until_quiet()
    assert told(running, "o-1")["ordering"] == [*CONFIRMED, "ShipmentRecorded"]
    assert books(running) == {"capture": TOTAL}


def test_refund_that_is_refused_is_asked_for_again_until_it_is_given(running: Simulation) -> None:
    """F16."""
    running.send(order(token="tok_norefund", postal_code="0000"), key="o-1")
    running.run_until_quiet()
    refused = [*TAKEN, "RefundRequested", "RefundFailed"]
    assert told(running, "o-1")["payments"] == refused
    running.advance(seconds=31)
    assert told(running, "o-1")["payments"] == [*refused, "RefundRequested", "RefundFailed"]
    running.send(RetryRefund(), key="o-1")
    running.advance(hours=1)
    assert told(running, "o-1")["payments"] == [*refused, *refused[-2:], "RefundRequested", "PaymentRefunded"]
    assert books(running) == {"capture": TOTAL, "refund": TOTAL}


@pytest.mark.parametrize("later", [timedelta(0), timedelta(hours=1)], ids=["inside_the_window", "after_it"])
def test_same_command_twice_has_one_effect(running: Simulation, later: timedelta) -> None:
    """F17."""
    first = running.send(order(), key="o-1", message_id="click-1")
    running.advance(seconds=later.total_seconds())
    second = running.send(order(), key="o-1", message_id="click-1")
    running.run_until_quiet()
    assert (first.duplicate, second.duplicate) == (False, not later)
    assert told(running, "o-1")["ordering"] == [*CONFIRMED, "ShipmentRecorded"]
    assert books(running) == {"capture": TOTAL}


def test_two_orders_race_for_the_last_unit_and_one_has_it(running: Simulation) -> None:
    """F24."""
    rare = Sku("rare")
    fill_shelves(running, rare, 1)
    for key in ("o-1", "o-2"):
        running.send(order(sku=rare, quantity=1), key=key)
    running.run_until_quiet()
    ends = sorted(told(running, key)["ordering"][-1] for key in ("o-1", "o-2"))
    assert ends == ["OrderCancelled", "ShipmentRecorded"]
    assert level(running, rare) == (0, 0)


def test_flood_is_refused_at_the_door_and_what_was_taken_is_decided() -> None:
    """R12, in small."""
    with simulation(seed=1, partitions=2) as running:
        running.stop("ordering")
        running.server.stream("COMMANDS").configure({**running.server.stream("COMMANDS").config, "max_msgs": 3})
        for number in range(3):
            running.send(order(), key=f"o-{number}")
        with pytest.raises(BrokerRefusedError) as refused:
            running.send(order(), key="o-3")
        assert refused.value.code == 10077
        running.start("ordering")
        running.run_until_quiet()
        assert [told(running, f"o-{number}")["ordering"] for number in range(3)] == [CANCELLED] * 3


def test_hundreds_of_days_pass_in_no_time() -> None:
    """Thousands of hours a minute."""
    began = process_time()
    with simulation(seed=1, partitions=2) as running:
        fill_shelves(running)
        for day in range(100):
            running.send(order(quantity=1, token="tok_norefund" if day % 7 == 0 else "tok_ok"), key=f"o-{day}")
            running.advance(days=1)
        assert running.facts("o-99", of="ordering") == [*CONFIRMED, "ShipmentRecorded"]
        assert level(running) == (0, 0)
    assert process_time() - began < 60
