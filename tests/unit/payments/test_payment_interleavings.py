"""Every order in which the world can reach one payment, each message once doubled, with a bank in miniature."""

from datetime import UTC, datetime
from typing import NamedTuple

import pytest

from contexts.kernel import Line, MethodToken, Money, OrderId, ReturnId, Sku, SkuQuantity
from contexts.payments.commands import (
    AuthorizePayment,
    CapturePayment,
    RecordAuthorizationRefused,
    RecordAuthorized,
    RecordCaptured,
    RecordCaptureRefused,
    RecordRefunded,
    RecordRefundRefused,
    RecordVoided,
    RefundReturn,
    RetryDueRefund,
    UndoPayment,
)
from contexts.payments.events import (
    AuthorizationRequested,
    CaptureRequested,
    PaymentEvent,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentVoided,
    RefundFailed,
    RefundRequested,
    VoidRequested,
)
from contexts.payments.payment import Payment, evolve
from shared.context import Rejected
from tests.unit.payments.deciding import AnyCommand, decide

ORDER = OrderId("o-42")
LATER = datetime(2026, 11, 21, 9, 0, 30, tzinfo=UTC)

TOTAL_MINOR = 4200
MUG = Sku("mug")
PLACED = AuthorizePayment(
    order_id=ORDER,
    amount=Money(amount_minor=TOTAL_MINOR),
    method_token=MethodToken("tok"),
    lines=(Line(sku=MUG, quantity=3, unit_price=Money(amount_minor=1500)),),
    discount=300,
)
ONE_BACK, TWO_BACK, ALL_BACK = (
    RefundReturn(
        order_id=ORDER,
        return_id=ReturnId(f"r-{quantity}"),
        lines=(SkuQuantity(sku=MUG, quantity=quantity),),
    )
    for quantity in (1, 2, 3)
)
RESERVED = CapturePayment(order_id=ORDER)
REJECTED = UndoPayment(order_id=ORDER, reason="out_of_stock")
CANCELLED = UndoPayment(order_id=ORDER, reason="customer")
SHIPMENT_FAILED = UndoPayment(order_id=ORDER, reason="shipment_failed")


class World(NamedTuple):
    """The payment, the messages in flight, the open questions to the bank, and who has the money."""

    payment: Payment
    arriving: tuple[AnyCommand, ...]
    asked: tuple[PaymentEvent, ...]
    bank: str
    captured: bool
    voided: bool
    refunded_minor: int
    refusals: int


class Ending(NamedTuple):
    """The state after the last message has arrived."""

    status: str
    bank: str


def endings(*messages: AnyCommand) -> set[Ending]:
    """Walk through every world that can be reached, checking each, and return how they end."""
    return walked(World(Payment(), in_order(messages + messages), (), "nothing", False, False, 0, 0))


def walked(start: World) -> set[Ending]:
    """The endings of every world that can be reached from this one."""
    seen = {start}
    ahead = [start]
    found = set()
    while ahead:
        world = ahead.pop()
        following = steps(world)
        if not following:
            found.add(Ending(world.payment.status, world.bank))
        for step in following:
            if step not in seen:
                seen.add(step)
                ahead.append(step)
    return found


def steps(world: World) -> list[World]:
    """Every world that can be next: one message arrives, or the bank answers its oldest question."""
    found = []
    for command in dict.fromkeys(world.arriving):
        remaining = list(world.arriving)
        remaining.remove(command)
        found.append(deliver(command, world._replace(arriving=tuple(remaining))))
    if world.asked:
        answered = world._replace(asked=world.asked[1:])
        for bank, outcome in outcomes(world.asked[0], world.bank, world.refusals):
            refusals = world.refusals + isinstance(outcome, RecordRefundRefused)
            twice = in_order((*answered.arriving, outcome))
            found.append(deliver(outcome, answered._replace(bank=bank, refusals=refusals, arriving=twice)))
    return found


def outcomes(asked: PaymentEvent, bank: str, refusals: int) -> list[tuple[str, AnyCommand]]:
    """The answers that the bank may give: it does what it is asked, or refuses anything but a void."""
    match asked:
        case AuthorizationRequested():
            assert bank == "nothing"
            refused = RecordAuthorizationRefused(order_id=ORDER, reason="declined")
            return [("held", RecordAuthorized(order_id=ORDER)), ("nothing", refused)]
        case CaptureRequested():
            assert bank == "held", "captured what was not held"
            refused_capture = RecordCaptureRefused(order_id=ORDER, reason="capture_refused")
            return [("taken", RecordCaptured(order_id=ORDER)), ("held", refused_capture)]
        case VoidRequested():
            assert bank in ("nothing", "held"), "voided what was captured"
            return [("nothing", RecordVoided(order_id=ORDER))]
        case RefundRequested(attempt=attempt, return_id=return_id):
            assert bank == "taken", "refunded what was not captured"
            done: tuple[str, AnyCommand] = ("taken", RecordRefunded(order_id=ORDER, return_id=return_id))
            refused_refund = RecordRefundRefused(
                order_id=ORDER, attempt=attempt, reason="refund_refused", retry_at=LATER, return_id=return_id
            )
            return [done] if refusals == 2 else [done, ("taken", refused_refund)]
        case _:
            raise AssertionError(f"the bank is not asked by {asked}")


def deliver(command: AnyCommand, world: World) -> World:
    """Decide, check that asking again is quiet, and pass the calls to the bank and the retries to the timer."""
    payment, arriving, asked = world.payment, list(world.arriving), list(world.asked)
    events = decide(command, payment)
    captured, voided, refunded_minor = world.captured, world.voided, world.refunded_minor
    for event in events:
        assert not isinstance(event, Rejected)
        payment = evolve(payment, event)
        match event:
            case AuthorizationRequested() | CaptureRequested() | VoidRequested() | RefundRequested():
                asked.append(event)
            case RefundFailed(attempt=attempt, return_id=return_id):
                arriving += 2 * [RetryDueRefund(order_id=ORDER, attempt=attempt, return_id=return_id)]
            case PaymentSucceeded():
                assert not captured, "captured twice"
                captured = True
            case PaymentVoided():
                assert not voided, "voided twice"
                voided = True
            case PaymentRefunded():
                assert captured, "refunded what was not captured"
                refunded_minor += event.amount.amount_minor
                assert refunded_minor <= TOTAL_MINOR, "refunded more than was captured"
    assert decide(command, payment) == (), "asking twice gave a second answer"
    assert not (captured and voided), "captured and voided"
    bank = "nothing" if refunded_minor == TOTAL_MINOR else world.bank
    return World(payment, in_order(arriving), tuple(asked), bank, captured, voided, refunded_minor, world.refusals)


def in_order(commands: list[AnyCommand] | tuple[AnyCommand, ...]) -> tuple[AnyCommand, ...]:
    """One spelling for one multiset, so that a world is met once."""
    return tuple(sorted(commands, key=repr))


UNDONE = {Ending("FAILED", "nothing"), Ending("VOIDED", "nothing"), Ending("REFUNDED", "nothing")}


def test_order_that_nobody_cancels_is_paid_or_refused() -> None:
    assert endings(PLACED, RESERVED) == {
        Ending("CAPTURED", "taken"),
        Ending("FAILED", "nothing"),
        Ending("VOIDED", "nothing"),
    }


@pytest.mark.parametrize(
    "undo",
    [(CANCELLED,), (SHIPMENT_FAILED,), (CANCELLED, SHIPMENT_FAILED)],
    ids=["cancelled", "shipment_failed", "both"],
)
def test_order_that_does_not_happen_keeps_no_money_in_any_order(undo: tuple[UndoPayment, ...]) -> None:
    assert endings(PLACED, RESERVED, *undo) == UNDONE


@pytest.mark.parametrize("undo", [(), (CANCELLED,), (CANCELLED, SHIPMENT_FAILED)])
def test_order_without_stock_is_never_captured(undo: tuple[UndoPayment, ...]) -> None:
    assert endings(PLACED, REJECTED, *undo) == {Ending("FAILED", "nothing"), Ending("VOIDED", "nothing")}


def test_cancelled_order_that_was_never_placed_here_asks_the_bank_nothing() -> None:
    assert endings(RESERVED, CANCELLED) == {Ending("VOIDED", "nothing")}


@pytest.mark.parametrize("returns", [(ONE_BACK, TWO_BACK), (ALL_BACK,), (ALL_BACK, ONE_BACK)])
def test_returns_race_a_refund_of_the_whole_order_and_no_more_is_given_back_than_was_taken(
    returns: tuple[RefundReturn, ...],
) -> None:
    """The order of the messages and the first answers of the bank do not matter (F31)."""
    found = paid_endings(*returns, SHIPMENT_FAILED)
    assert found == {Ending("REFUNDED", "nothing")}


def test_returns_leave_the_rest_of_the_money_here() -> None:
    assert paid_endings(ONE_BACK) == {Ending("REFUNDED", "taken")}
    assert paid_endings(ONE_BACK, TWO_BACK) == {Ending("REFUNDED", "nothing")}


def paid_endings(*messages: AnyCommand) -> set[Ending]:
    """The endings of a payment that was captured before these messages."""
    payment = Payment()
    for command in (PLACED, RESERVED, RecordAuthorized(order_id=ORDER), RecordCaptured(order_id=ORDER)):
        for event in decide(command, payment):
            assert not isinstance(event, Rejected)
            payment = evolve(payment, event)
    assert payment.status == "CAPTURED"
    return walked(World(payment, in_order(messages + messages), (), "taken", True, False, 0, 0))
