"""Whether a deposit, a withdrawal or a transfer is booked: once per reference, for ever.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Each booking is an aggregate of its own,
decided in one transaction with the accounts that it touches, so an account's state does not grow with its bookings. Two
withdrawals at the same time are decided one after the other, each with the balance that the other one leaves.
"""

from collections.abc import Mapping
from typing import TypeAlias, assert_never

from msgspec import Struct

from contexts.bank.account import Account, transferred
from contexts.bank.commands import BookingCommand, Deposit, Transfer, Withdraw
from contexts.bank.events import (
    AccountEvent,
    Balance,
    BookingRecorded,
    Deposited,
    WithdrawalRefusal,
    WithdrawalRejected,
    Withdrawn,
)
from contexts.kernel import Money
from shared.context import Rejected

Decided: TypeAlias = tuple[AccountEvent | BookingRecorded | Rejected, ...]


class Booking(Struct, frozen=True, kw_only=True):
    """One reference of one account; `booked` is None when it is new."""

    booked: str | None = None


def decide(command: BookingCommand, booking: Booking, accounts: Mapping[str, Account]) -> Decided:
    """Book the money, unless the account has decided on this reference before."""
    booked = _described(command)
    if booking.booked == booked:
        return ()
    if booking.booked is not None:
        problem = f"it stands for {booking.booked}; use a new one"
        return (Rejected.at("reference_known_otherwise", "$.reference", problem),)
    recorded = BookingRecorded(account_id=command.account_id, reference=command.reference, booked=booked)
    account = accounts[command.account_id]
    amount = Money(amount_minor=command.amount.amount_minor, currency=command.amount.currency)
    match command:
        case Deposit():
            if not account.is_open:
                return (Rejected.at("account_unknown", "$", f"open {command.account_id} with OpenAccount"),)
            balance_minor = account.balance(amount.currency) + amount.amount_minor
            deposited = Deposited(
                account_id=command.account_id,
                amount=amount,
                reference=command.reference,
                balance_minor=balance_minor,
                balance=Balance(amount_minor=balance_minor, currency=amount.currency),
            )
            return (deposited, recorded)
        case Withdraw():
            if (refusal := _refusal(account, amount)) is not None:
                return (_rejected(command, account, amount, refusal), recorded)
            balance_minor = account.balance(amount.currency) - amount.amount_minor
            withdrawn = Withdrawn(
                account_id=command.account_id,
                amount=amount,
                reference=command.reference,
                balance_minor=balance_minor,
                balance=Balance(amount_minor=balance_minor, currency=amount.currency),
            )
            return (withdrawn, recorded)
        case Transfer():
            if command.to == command.account_id:
                return (Rejected.at("same_account", "$.to", "name another account"),)
            refusal = _refusal(account, amount)
            if refusal is None and not accounts[command.to].is_open:
                refusal = "target_unknown"
            if refusal is not None:
                return (_rejected(command, account, amount, refusal), recorded)
            moved = transferred(command.account_id, command.to, accounts, amount, command.reference)
            return (*moved, recorded)
        case _:
            assert_never(command)


def evolve(booking: Booking, event: BookingRecorded) -> Booking:
    """The booking after the account has decided."""
    assert booking.booked is None, booking
    return Booking(booked=event.booked)


def accounts_of(command: BookingCommand) -> tuple[str, ...]:
    """The accounts that the decision reads."""
    return (command.account_id, command.to) if isinstance(command, Transfer) else (command.account_id,)


def _refusal(account: Account, amount: Money) -> WithdrawalRefusal | None:
    if not account.is_open:
        return "account_unknown"
    return None if amount.amount_minor <= account.available(amount.currency) else "insufficient_funds"


def _rejected(
    command: Withdraw | Transfer, account: Account, amount: Money, reason: WithdrawalRefusal
) -> WithdrawalRejected:
    return WithdrawalRejected(
        account_id=command.account_id,
        amount=amount,
        reference=command.reference,
        reason=reason,
        balance_minor=account.balance(amount.currency),
        balance=Balance(amount_minor=account.balance(amount.currency), currency=amount.currency),
        available_minor=account.available(amount.currency),
    )


def _described(command: BookingCommand) -> str:
    amount = f"{command.amount.amount_minor} {command.amount.currency}"
    to = f" to {command.to}" if isinstance(command, Transfer) else ""
    return f"{type(command).__name__} of {amount}{to}"
