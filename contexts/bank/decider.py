"""Decides the bank's answer to a request about one payment, and which money moves.

Pure: no I/O, clock, randomness or logging. A payment is held and taken whole, and given back whole or in parts; one
that was voided before it came is never held. The beginning of a method token decides how the bank behaves: `tok_poor`
has no money, `tok_declined` is not taken, `tok_nocapture` is held and never captured, `tok_norefund` is refunded at the
third attempt; `tok_slow` is answered late and `tok_lost` not at first (effects.py); all others pay.
"""

from typing import Literal, NamedTuple, TypeAlias, assert_never

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

MINT = "mint"
"""Where opening money comes from: its balance is below zero by what it gave, so all balances add up to zero."""

MERCHANT = "merchant"
REFUNDS_REFUSED_AT_FIRST = 2

State: TypeAlias = Literal["UNKNOWN", "REFUSED", "HELD", "VOIDED", "CAPTURED", "REFUNDED"]


class Payment(NamedTuple):
    """A payment as the bank knows it; `account_id` is the method token that pays."""

    state: State = "UNKNOWN"
    account_id: str = ""
    currency: str = ""
    amount_minor: int = 0
    refunds_refused: int = 0


class Decision(NamedTuple):
    """The answer, the payment after it, how much more of its account is held, and how much goes to the merchant."""

    outcome: Outcome
    payment: Payment
    held_more_minor: int = 0
    paid_minor: int = 0


def decide(request: BankRequest, payment: Payment, available_minor: int) -> Decision:
    """Answer a request; `available_minor` is what the paying account has and does not hold."""
    match request:
        case Verify():
            return _refused("declined", payment) if is_declined(request.method_token) else Decision(Done(), payment)
        case Authorize():
            return _authorize(request, payment, available_minor)
        case Capture():
            return _capture(request, payment)
        case Void():
            return _void(payment)
        case Refund():
            return _refund(request, payment)
        case _:
            assert_never(request)


def is_declined(token: str) -> bool:
    """Whether the bank declines this token; no payment may come from the bank's own accounts."""
    return token.startswith("tok_declined") or token in (MINT, MERCHANT)


def _authorize(request: Authorize, payment: Payment, available_minor: int) -> Decision:
    if payment.state != "UNKNOWN":
        return _refused("not_possible", payment)  # Voided before it came, or asked for under another key.
    amount = request.amount
    asked = Payment("REFUSED", request.method_token, amount.currency, amount.amount_minor)
    if is_declined(request.method_token):
        return _refused("declined", asked)
    if amount.amount_minor > available_minor:
        return _refused("insufficient_funds", asked)
    return Decision(Done(), asked._replace(state="HELD"), held_more_minor=amount.amount_minor)


def _capture(request: Capture, payment: Payment) -> Decision:
    if payment.state != "HELD" or not _is_all_of(request, payment):
        return _refused("not_possible", payment)
    if payment.account_id.startswith("tok_nocapture"):
        return _refused("capture_refused", payment)
    minor = payment.amount_minor
    return Decision(Done(), payment._replace(state="CAPTURED"), held_more_minor=-minor, paid_minor=minor)


def _void(payment: Payment) -> Decision:
    match payment.state:
        case "HELD":
            return Decision(Done(), payment._replace(state="VOIDED"), held_more_minor=-payment.amount_minor)
        case "UNKNOWN":
            return Decision(Done(), payment._replace(state="VOIDED"))
        case "REFUSED" | "VOIDED":
            return Decision(Done(), payment)
        case "CAPTURED" | "REFUNDED":
            return _refused("not_possible", payment)


def _refund(request: Refund, payment: Payment) -> Decision:
    """Give back a part or all; `amount_minor` of a payment that was refunded in part is the rest."""
    minor = request.amount.amount_minor
    if payment.state != "CAPTURED" or request.amount.currency != payment.currency or minor > payment.amount_minor:
        return _refused("not_possible", payment)
    if payment.account_id.startswith("tok_norefund") and payment.refunds_refused < REFUNDS_REFUSED_AT_FIRST:
        return _refused("refund_refused", payment._replace(refunds_refused=payment.refunds_refused + 1))
    after = payment._replace(amount_minor=payment.amount_minor - minor)
    if minor == payment.amount_minor:
        after = payment._replace(state="REFUNDED")
    return Decision(Done(), after, paid_minor=-minor)


def _is_all_of(request: Capture, payment: Payment) -> bool:
    return (request.amount.amount_minor, request.amount.currency) == (payment.amount_minor, payment.currency)


def _refused(reason: Refusal, payment: Payment) -> Decision:
    return Decision(Refused(reason=reason), payment)
