"""The answers of the bank in every state of a payment, and to every kind of token."""

import pytest

from contexts.bank.commands import (
    Authorize,
    BankRequest,
    Capture,
    Done,
    Outcome,
    Refund,
    Refusal,
    Refused,
    Verify,
    Void,
)
from contexts.bank.decider import Decision, Payment, decide
from contexts.kernel import MethodToken, Money, PaymentId

PAYMENT = PaymentId("pay-o-42")
TOTAL = Money(amount_minor=4200)
PLENTY = 10**12

CAPTURE = Capture(payment_id=PAYMENT, amount=TOTAL)
VOID = Void(payment_id=PAYMENT)
REFUND = Refund(payment_id=PAYMENT, amount=TOTAL)

REFUSED = Payment("REFUSED", "tok_ok_1", "EUR", 4200)
HELD = REFUSED._replace(state="HELD")
VOIDED = REFUSED._replace(state="VOIDED")
CAPTURED = REFUSED._replace(state="CAPTURED")
REFUNDED = REFUSED._replace(state="REFUNDED")

NOT_POSSIBLE = Refused(reason="not_possible")


def authorize(token: str = "tok_ok_1") -> Authorize:
    return Authorize(payment_id=PAYMENT, method_token=MethodToken(token), amount=TOTAL)


def test_authorization_holds_the_amount() -> None:
    assert decide(authorize(), Payment(), 4200) == Decision(Done(), HELD, held_more_minor=4200)


def test_authorization_beyond_what_is_available_is_refused() -> None:
    assert decide(authorize(), Payment(), 4199) == Decision(Refused(reason="insufficient_funds"), REFUSED)


def test_capture_moves_all_that_is_held() -> None:
    assert decide(CAPTURE, HELD, 0) == Decision(Done(), CAPTURED, held_more_minor=-4200, paid_minor=4200)


def test_void_lets_go_what_is_held() -> None:
    assert decide(VOID, HELD, 0) == Decision(Done(), VOIDED, held_more_minor=-4200)


def test_refund_moves_all_of_it_back() -> None:
    assert decide(REFUND, CAPTURED, 0) == Decision(Done(), REFUNDED, paid_minor=-4200)


def test_void_that_comes_first_forbids_the_authorization() -> None:
    forbidden = decide(VOID, Payment(), 0).payment
    assert forbidden == Payment("VOIDED")
    assert decide(authorize(), forbidden, PLENTY) == Decision(NOT_POSSIBLE, forbidden)


@pytest.mark.parametrize(
    ("request_", "payment", "outcome"),
    [
        (authorize(), HELD, NOT_POSSIBLE),
        (authorize(), REFUSED, NOT_POSSIBLE),
        (CAPTURE, Payment(), NOT_POSSIBLE),
        (CAPTURE, REFUSED, NOT_POSSIBLE),
        (CAPTURE, VOIDED, NOT_POSSIBLE),
        (CAPTURE, CAPTURED, NOT_POSSIBLE),
        (Capture(payment_id=PAYMENT, amount=Money(amount_minor=4199)), HELD, NOT_POSSIBLE),
        (Capture(payment_id=PAYMENT, amount=Money(amount_minor=4200, currency="USD")), HELD, NOT_POSSIBLE),
        (VOID, REFUSED, Done()),
        (VOID, VOIDED, Done()),
        (VOID, CAPTURED, NOT_POSSIBLE),
        (VOID, REFUNDED, NOT_POSSIBLE),
        (REFUND, Payment(), NOT_POSSIBLE),
        (REFUND, HELD, NOT_POSSIBLE),
        (REFUND, REFUNDED, NOT_POSSIBLE),
        (Refund(payment_id=PAYMENT, amount=Money(amount_minor=4201)), CAPTURED, NOT_POSSIBLE),
    ],
)
def test_what_comes_too_early_or_too_late_moves_nothing(
    request_: BankRequest, payment: Payment, outcome: Outcome
) -> None:
    assert decide(request_, payment, PLENTY) == Decision(outcome, payment)


@pytest.mark.parametrize("token", ["tok_declined_1", "mint", "merchant"])
def test_declined_token_fails_to_verify_and_to_authorize(token: str) -> None:
    assert decide(Verify(method_token=MethodToken(token)), Payment(), 0).outcome == Refused(reason="declined")
    assert decide(authorize(token), Payment(), PLENTY).outcome == Refused(reason="declined")


def test_any_other_token_verifies() -> None:
    assert decide(Verify(method_token=MethodToken("tok_poor_1")), Payment(), 0).outcome == Done()


def test_token_that_refuses_the_capture_stays_held_until_it_is_voided() -> None:
    held = HELD._replace(account_id="tok_nocapture_1")
    assert decide(CAPTURE, held, 0) == Decision(Refused(reason="capture_refused"), held)
    assert decide(VOID, held, 0).outcome == Done()


def test_token_that_refuses_refunds_gives_in_at_the_third() -> None:
    payment = CAPTURED._replace(account_id="tok_norefund_1")
    reasons: list[Refusal | None] = []
    for _ in range(3):
        outcome, payment, *_ = decide(REFUND, payment, 0)
        reasons.append(outcome.reason if isinstance(outcome, Refused) else None)
    assert reasons == ["refund_refused", "refund_refused", None]
    assert payment.state == "REFUNDED"


def test_captured_payment_is_refunded_in_parts_and_never_more_than_was_captured() -> None:
    part = Refund(payment_id=PAYMENT, amount=Money(amount_minor=4000))
    rest = CAPTURED._replace(amount_minor=200)
    assert decide(part, CAPTURED, 0) == Decision(Done(), rest, paid_minor=-4000)
    assert decide(part, rest, 0) == Decision(NOT_POSSIBLE, rest)
    last = Refund(payment_id=PAYMENT, amount=Money(amount_minor=200))
    assert decide(last, rest, 0) == Decision(Done(), rest._replace(state="REFUNDED"), paid_minor=-200)
