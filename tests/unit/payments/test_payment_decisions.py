"""Per command: accepts, refuses, stays quiet, too early, too late, asked twice."""

from datetime import UTC, datetime

import pytest

from contexts.kernel import MethodToken, Money, OrderId, PaymentId
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
    RetryDueRefund,
    RetryRefund,
    UndoPayment,
)
from contexts.payments.events import (
    AuthorizationRequested,
    CancellationNoted,
    CaptureRequested,
    PaymentAuthorized,
    PaymentEvent,
    PaymentFailed,
    PaymentRefunded,
    PaymentSucceeded,
    PaymentVoided,
    RefundFailed,
    RefundRequested,
    ReservationNoted,
    VoidRequested,
)
from shared.context import Rejected
from tests.unit.payments.deciding import AnyCommand, after, decide

ORDER = OrderId("o-42")
PAYMENT = PaymentId("pay-o-42")
TOTAL = Money(amount_minor=4200)
TOKEN = MethodToken("tok_ok_1")
LATER = datetime(2026, 11, 21, 9, 0, 30, tzinfo=UTC)

AUTHORIZE = AuthorizePayment(order_id=ORDER, amount=TOTAL, method_token=TOKEN)
CAPTURE = CapturePayment(order_id=ORDER)
CANCEL = UndoPayment(order_id=ORDER, reason="customer")
AUTHORIZED_AT_BANK = RecordAuthorized(order_id=ORDER)
AUTHORIZATION_REFUSED = RecordAuthorizationRefused(order_id=ORDER, reason="insufficient_funds")
CAPTURED_AT_BANK = RecordCaptured(order_id=ORDER)
CAPTURE_REFUSED = RecordCaptureRefused(order_id=ORDER, reason="capture_refused")
VOIDED_AT_BANK = RecordVoided(order_id=ORDER)
REFUNDED_AT_BANK = RecordRefunded(order_id=ORDER)
REFUND_REFUSED = RecordRefundRefused(order_id=ORDER, attempt=1, reason="refund_refused", retry_at=LATER)
RETRY = RetryRefund(order_id=ORDER)
RETRY_DUE = RetryDueRefund(order_id=ORDER, attempt=1)

ASKED = AuthorizationRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, method_token=TOKEN)
RESERVED = ReservationNoted(order_id=ORDER)
AUTHORIZED = PaymentAuthorized(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL)
CAPTURING = CaptureRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL)
CANCELLED = CancellationNoted(order_id=ORDER, reason="customer")
SUCCEEDED = PaymentSucceeded(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL)
DECLINED = PaymentFailed(order_id=ORDER, stage="authorize", reason="insufficient_funds")
NOT_CAPTURED = PaymentFailed(order_id=ORDER, stage="capture", reason="capture_refused")
VOIDING = VoidRequested(order_id=ORDER, payment_id=PAYMENT, reason="customer")
VOIDING_UNCAPTURED = VoidRequested(order_id=ORDER, payment_id=PAYMENT, reason="capture_refused")
VOIDED = PaymentVoided(order_id=ORDER, payment_id=PAYMENT)
REFUNDING = RefundRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, attempt=1, reason="customer")
REFUNDING_AGAIN = RefundRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, attempt=2, reason="customer")
REFUNDED = PaymentRefunded(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, reason="customer")
REFUND_FAILED = RefundFailed(order_id=ORDER, attempt=1, reason="refund_refused", retry_at=LATER)

HELD = (ASKED, AUTHORIZED)
IN_FLIGHT = (*HELD, CAPTURING)
PAID = (*IN_FLIGHT, SUCCEEDED)
GOING_BACK = (*PAID, REFUNDING)
STUCK = (*GOING_BACK, REFUND_FAILED)

HISTORIES: dict[str, tuple[PaymentEvent, ...]] = {
    "new": (),
    "new_and_reserved": (RESERVED,),
    "authorizing": (ASKED,),
    "authorizing_and_reserved": (ASKED, RESERVED),
    "authorized": HELD,
    "capturing": IN_FLIGHT,
    "capturing_and_cancelled": (*IN_FLIGHT, CANCELLED),
    "captured": PAID,
    "declined": (ASKED, DECLINED),
    "voiding": (ASKED, VOIDING),
    "voiding_uncaptured": (*IN_FLIGHT, NOT_CAPTURED, VOIDING_UNCAPTURED),
    "voided": (*HELD, VOIDING, VOIDED),
    "forbidden": (VOIDED,),
    "refunding": GOING_BACK,
    "refund_refused": STUCK,
    "refunded": (*GOING_BACK, REFUNDED),
}
COMMANDS: tuple[AnyCommand, ...] = (
    AUTHORIZE,
    CAPTURE,
    CANCEL,
    AUTHORIZED_AT_BANK,
    AUTHORIZATION_REFUSED,
    CAPTURED_AT_BANK,
    CAPTURE_REFUSED,
    VOIDED_AT_BANK,
    REFUNDED_AT_BANK,
    REFUND_REFUSED,
    RETRY,
    RETRY_DUE,
)


ANSWERS: dict[tuple[str, AnyCommand], tuple[PaymentEvent, ...]] = {
    ("new", AUTHORIZE): (ASKED,),
    ("new_and_reserved", AUTHORIZE): (ASKED,),
    ("new", CAPTURE): (RESERVED,),
    ("authorizing", CAPTURE): (RESERVED,),
    ("authorized", CAPTURE): (CAPTURING,),
    ("new", CANCEL): (VOIDED,),
    ("new_and_reserved", CANCEL): (VOIDED,),
    ("authorizing", CANCEL): (VOIDING,),
    ("authorizing_and_reserved", CANCEL): (VOIDING,),
    ("authorized", CANCEL): (VOIDING,),
    ("capturing", CANCEL): (CANCELLED,),
    ("captured", CANCEL): (REFUNDING,),
    ("authorizing", AUTHORIZED_AT_BANK): (AUTHORIZED,),
    ("authorizing_and_reserved", AUTHORIZED_AT_BANK): (AUTHORIZED, CAPTURING),
    ("authorizing", AUTHORIZATION_REFUSED): (DECLINED,),
    ("authorizing_and_reserved", AUTHORIZATION_REFUSED): (DECLINED,),
    ("voiding", AUTHORIZED_AT_BANK): (AUTHORIZED,),
    ("voiding", AUTHORIZATION_REFUSED): (DECLINED,),
    ("capturing", CAPTURED_AT_BANK): (SUCCEEDED,),
    ("capturing_and_cancelled", CAPTURED_AT_BANK): (SUCCEEDED, REFUNDING),
    ("capturing", CAPTURE_REFUSED): (NOT_CAPTURED, VOIDING_UNCAPTURED),
    ("capturing_and_cancelled", CAPTURE_REFUSED): (NOT_CAPTURED, VOIDING_UNCAPTURED),
    ("voiding", VOIDED_AT_BANK): (VOIDED,),
    ("voiding_uncaptured", VOIDED_AT_BANK): (VOIDED,),
    ("refunding", REFUNDED_AT_BANK): (REFUNDED,),
    ("refunding", REFUND_REFUSED): (REFUND_FAILED,),
    ("refund_refused", RETRY): (REFUNDING_AGAIN,),
    ("refund_refused", RETRY_DUE): (REFUNDING_AGAIN,),
}
"""Every answer there is. Any other command in any other state is too early, too late or asked before, and is quiet."""


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: type(command).__name__)
def test_every_command_in_every_state(history: str, command: AnyCommand) -> None:
    answer = decide(command, after(*HISTORIES[history]))
    if command == RETRY and history not in ("refunding", "refund_refused", "refunded"):
        assert answer == (Rejected.at("nothing_to_refund", "$", "the bank has refused no refund of this order"),)
    else:
        assert answer == ANSWERS.get((history, command), ())


@pytest.mark.parametrize(("history", "command"), ANSWERS, ids=str)
def test_asking_twice_gives_the_answer_once(history: str, command: AnyCommand) -> None:
    events = HISTORIES[history]
    assert decide(command, after(*events, *ANSWERS[history, command])) == ()


def test_cancellation_that_comes_first_forbids_the_authorization() -> None:
    assert decide(CANCEL, after()) == (VOIDED,)
    assert decide(AUTHORIZE, after(VOIDED)) == ()
    assert decide(CAPTURE, after(VOIDED)) == ()


def test_cancellation_while_authorizing_forbids_the_capture() -> None:
    assert decide(AUTHORIZED_AT_BANK, after(ASKED, RESERVED, VOIDING)) == (AUTHORIZED,)
    assert decide(CAPTURE, after(ASKED, VOIDING)) == ()


def test_void_outcome_says_nothing_when_nothing_was_held() -> None:
    assert decide(VOIDED_AT_BANK, after(ASKED, VOIDING, DECLINED)) == ()


def test_cancellation_after_a_declined_payment_is_quiet() -> None:
    assert decide(UndoPayment(order_id=ORDER, reason="payment_failed"), after(ASKED, DECLINED)) == ()


def test_cancellation_because_of_a_failed_shipment_is_quiet_once_the_refund_is_asked() -> None:
    shipment_failed = UndoPayment(order_id=ORDER, reason="shipment_failed")
    (asked,) = decide(shipment_failed, after(*PAID))
    assert isinstance(asked, RefundRequested)
    assert asked.reason == "shipment_failed"
    assert decide(shipment_failed, after(*PAID, asked)) == ()


def test_refund_keeps_the_reason_of_the_cancellation_that_met_the_capture() -> None:
    expired = CancellationNoted(order_id=ORDER, reason="expired")
    _, asked = decide(CAPTURED_AT_BANK, after(*IN_FLIGHT, expired))
    assert isinstance(asked, RefundRequested)
    assert asked.reason == "expired"


def test_timer_is_stale_once_the_refund_was_asked_again_by_hand() -> None:
    assert decide(RETRY_DUE, after(*STUCK, REFUNDING_AGAIN)) == ()
    refused_again = RefundFailed(order_id=ORDER, attempt=2, reason="refund_refused", retry_at=LATER)
    assert decide(RETRY_DUE, after(*STUCK, REFUNDING_AGAIN, refused_again)) == ()


def test_outcome_of_an_older_attempt_is_quiet() -> None:
    assert decide(REFUND_REFUSED, after(*STUCK, REFUNDING_AGAIN)) == ()
