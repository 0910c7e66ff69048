"""Whether the money of one payment is held, moved to the merchant, let go, or given back.

Pure: no I/O, clock, randomness or logging. Each decision is one transaction with the accounts. A payment is held and
captured whole, and refunded whole or in parts; one that was voided before it came is never held. A repeated request is
recognized by its idempotency key before it comes here. The beginning of a method token, and so of the account, decides
how the bank behaves: `tok_poor` has no money, `tok_declined` is not taken, `tok_nocapture` is held and never captured,
`tok_norefund` is refunded at the third attempt.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.bank.account import MERCHANT, Account, is_declined, opened_for_payment, transferred
from contexts.bank.account import evolve as evolve_account
from contexts.bank.commands import (
    AccountId,
    CaptureHold,
    HoldCommand,
    Operation,
    PlaceHold,
    Reason,
    RefundCapture,
    VoidHold,
)
from contexts.bank.events import (
    AccountEvent,
    AmountHeld,
    BankRequestRefused,
    CaptureRefunded,
    HoldCaptured,
    HoldEvent,
    HoldPlaced,
    HoldReleased,
    HoldVoided,
)
from contexts.kernel import Money

REFUNDS_REFUSED_AT_FIRST = 2

Status: TypeAlias = Literal["NEW", "REFUSED", "HELD", "VOIDED", "CAPTURED", "REFUNDED"]
Decided: TypeAlias = tuple[HoldEvent | AccountEvent, ...]
Accounts: TypeAlias = Mapping[str, Account]

OPERATIONS: Mapping[type[HoldCommand], Operation] = {
    PlaceHold: "authorize",
    CaptureHold: "capture",
    VoidHold: "void",
    RefundCapture: "refund",
}


class Hold(Struct, frozen=True, kw_only=True):
    """A payment as the bank knows it; `account_id` pays."""

    status: Status = "NEW"
    account_id: AccountId = AccountId("")
    amount: Money = Money(amount_minor=0)
    refunded_minor: int = 0
    refunds_refused: int = 0


def decide(command: HoldCommand, hold: Hold, accounts: Accounts) -> Decided:
    """Decide on a request about a payment; no event when there is nothing left to let go."""
    match command:
        case PlaceHold():
            return _place(command, hold, accounts)
        case CaptureHold():
            return _capture(command, hold, accounts)
        case VoidHold():
            return _void(command, hold, accounts)
        case RefundCapture():
            return _refund(command, hold, accounts)
        case _:
            assert_never(command)


def evolve(hold: Hold, event: HoldEvent) -> Hold:
    """The payment after one of its events."""
    match event:
        case HoldPlaced():
            assert hold.status == "NEW", hold
            return replace(hold, status="HELD", account_id=event.account_id, amount=event.amount)
        case HoldCaptured():
            assert hold.status == "HELD", hold
            return replace(hold, status="CAPTURED")
        case HoldVoided():
            assert hold.status in ("NEW", "HELD"), hold
            return replace(hold, status="VOIDED")
        case CaptureRefunded():
            assert hold.status == "CAPTURED", hold
            assert event.refunded_minor <= hold.amount.amount_minor, event
            is_all = event.refunded_minor == hold.amount.amount_minor
            return replace(hold, status="REFUNDED" if is_all else "CAPTURED", refunded_minor=event.refunded_minor)
        case BankRequestRefused(operation="authorize") if hold.status == "NEW":
            return replace(hold, status="REFUSED", account_id=event.account_id)
        case BankRequestRefused(reason="refund_refused"):
            return replace(hold, refunds_refused=hold.refunds_refused + 1)
        case BankRequestRefused():
            return hold
        case _:
            assert_never(event)


def accounts_of(command: HoldCommand) -> tuple[str, ...]:
    """The accounts that the decision reads, as far as the command tells."""
    return (command.account_id,) if isinstance(command, PlaceHold) else (MERCHANT,)


def account_in(_: HoldCommand, hold: Hold) -> tuple[str, ...]:
    """The account that the payment knows."""
    return (hold.account_id,) if hold.account_id else ()


def _place(command: PlaceHold, hold: Hold, accounts: Accounts) -> Decided:
    account_id, amount = command.account_id, command.amount
    if hold.status != "NEW":
        return _refused(command, hold, "not_possible")  # Voided before it came, or asked for under another key.
    if is_declined(account_id):
        return _refused(command, hold, "declined")
    account = accounts[account_id]
    opened = opened_for_payment(account_id, account, amount.currency)
    for event in opened:
        account = evolve_account(account, event)
    if amount.amount_minor > account.available(amount.currency):
        return (*opened, *_refused(command, hold, "insufficient_funds"))
    held_minor = account.held_of(amount.currency) + amount.amount_minor
    return (
        *opened,
        HoldPlaced(payment_id=command.payment_id, account_id=account_id, amount=amount),
        AmountHeld(account_id=account_id, payment_id=command.payment_id, amount=amount, held_minor=held_minor),
    )


def _capture(command: CaptureHold, hold: Hold, accounts: Accounts) -> Decided:
    if hold.status != "HELD" or command.amount != hold.amount:
        return _refused(command, hold, "not_possible")
    if hold.account_id.startswith("tok_nocapture"):
        return _refused(command, hold, "capture_refused")
    return (
        HoldCaptured(payment_id=command.payment_id, account_id=hold.account_id, amount=hold.amount),
        *transferred(hold.account_id, MERCHANT, accounts, hold.amount, command.payment_id, from_hold=True),
    )


def _void(command: VoidHold, hold: Hold, accounts: Accounts) -> Decided:
    voided = HoldVoided(payment_id=command.payment_id, account_id=hold.account_id)
    match hold.status:
        case "NEW":
            return (voided,)
        case "HELD":
            held_minor = accounts[hold.account_id].held_of(hold.amount.currency) - hold.amount.amount_minor
            released = HoldReleased(
                account_id=hold.account_id,
                payment_id=command.payment_id,
                amount=hold.amount,
                held_minor=held_minor,
            )
            return (voided, released)
        case "REFUSED" | "VOIDED":
            return ()
        case "CAPTURED" | "REFUNDED":
            return _refused(command, hold, "not_possible")


def _refund(command: RefundCapture, hold: Hold, accounts: Accounts) -> Decided:
    minor, captured_minor = command.amount.amount_minor, hold.amount.amount_minor
    refunded_minor = hold.refunded_minor + minor
    is_possible = hold.status == "CAPTURED" and command.amount.currency == hold.amount.currency
    if not is_possible or refunded_minor > captured_minor or (minor == 0 and captured_minor > 0):
        return _refused(command, hold, "not_possible")
    if hold.account_id.startswith("tok_norefund") and hold.refunds_refused < REFUNDS_REFUSED_AT_FIRST:
        return _refused(command, hold, "refund_refused")
    if minor > accounts[MERCHANT].available(hold.amount.currency):
        return _refused(command, hold, "insufficient_funds")
    return (
        CaptureRefunded(
            payment_id=command.payment_id,
            account_id=hold.account_id,
            amount=command.amount,
            refunded_minor=refunded_minor,
        ),
        *transferred(MERCHANT, hold.account_id, accounts, command.amount, command.payment_id),
    )


def _refused(command: HoldCommand, hold: Hold, reason: Reason) -> tuple[BankRequestRefused]:
    account_id = command.account_id if isinstance(command, PlaceHold) else hold.account_id
    return (
        BankRequestRefused(
            payment_id=command.payment_id,
            account_id=account_id,
            operation=OPERATIONS[type(command)],
            reason=reason,
        ),
    )
