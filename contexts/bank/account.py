"""How much money an account has, and how much of it is held for payments.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. A balance is the sum of the account's
entries, and is never less than what is held. booking.py and hold.py decide which entries there are, in one transaction
with the accounts that they touch.
"""

from collections.abc import Mapping
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from contexts.bank.commands import AccountCommand, AccountId, OpenAccount, VerifyAccount
from contexts.bank.events import (
    OPENING,
    AccountEvent,
    AccountOpened,
    AmountHeld,
    Balance,
    Deposited,
    HoldReleased,
    MoneyTransferred,
    VerificationRefused,
    WithdrawalRejected,
    Withdrawn,
)
from contexts.kernel import MINOR_UNITS_AT_MOST, Money
from shared.context import Rejected

MERCHANT = AccountId("merchant")
"""The account that receives what is captured."""

PLENTY_MINOR = MINOR_UNITS_AT_MOST
"""The balance of an account that its first payment opens: enough for any one order."""


class Account(Struct, frozen=True, kw_only=True):
    """An account; balances and held amounts are in minor units by currency."""

    status: Literal["UNKNOWN", "OPEN"] = "UNKNOWN"
    owner: str = ""
    balances: Mapping[str, int] = {}
    held: Mapping[str, int] = {}

    @property
    def is_open(self) -> bool:
        """Whether it was opened, by its owner or by its first payment."""
        return self.status == "OPEN"

    def balance(self, currency: str) -> int:
        """The balance, held amounts included."""
        return self.balances.get(currency, 0)

    def held_of(self, currency: str) -> int:
        """The part of the balance that is held for payments."""
        return self.held.get(currency, 0)

    def available(self, currency: str) -> int:
        """The amount that may be paid or held."""
        return self.balance(currency) - self.held_of(currency)


def decide(command: AccountCommand, account: Account) -> tuple[AccountEvent | Rejected, ...]:
    """Open an account, or say whether it may pay at all."""
    match command:
        case OpenAccount(account_id=account_id, owner=owner):
            if not account.is_open:
                return (_opened(account_id, Money(amount_minor=0), owner=owner),)
            if account.owner == owner:
                return ()
            of = f"by {account.owner}" if account.owner else "by its first payment"
            return (Rejected.at("opened_otherwise", "$.owner", f"{account_id} was opened {of}"),)
        case VerifyAccount(account_id=account_id):
            return (VerificationRefused(account_id=account_id, reason="declined"),) if is_declined(account_id) else ()
        case _:
            assert_never(command)


def evolve(account: Account, event: AccountEvent) -> Account:
    """The account after one of its events."""
    match event:
        case AccountOpened():
            assert not account.is_open, account
            return _booked(replace(account, status="OPEN", owner=event.owner), event.amount.amount_minor, event.amount)
        case Deposited():
            return _booked(account, event.amount.amount_minor, event.amount, event.balance_minor)
        case Withdrawn():
            return _booked(account, -event.amount.amount_minor, event.amount, event.balance_minor)
        case MoneyTransferred():
            minor = event.amount.amount_minor
            if event.account_id == event.source and event.from_hold:
                account = _held(account, -minor, event.amount.currency)
            sign = -1 if event.account_id == event.source else 1
            return _booked(account, sign * minor, event.amount, event.balance_minor)
        case AmountHeld():
            return _held(account, event.amount.amount_minor, event.amount.currency)
        case HoldReleased():
            return _held(account, -event.amount.amount_minor, event.amount.currency)
        case WithdrawalRejected() | VerificationRefused():
            return account
        case _:
            assert_never(event)


def is_declined(account_id: str) -> bool:
    """Whether no payment may come from this account; the merchant's own is one of them."""
    return account_id.startswith("tok_declined") or account_id == MERCHANT


def opened_for_payment(account_id: AccountId, account: Account, currency: str) -> tuple[AccountEvent, ...]:
    """Give an account that only payments know plenty of each currency when it is first asked for one."""
    plenty = Money(amount_minor=0 if account_id.startswith("tok_poor") else PLENTY_MINOR, currency=currency)
    if not account.is_open:
        return (_opened(account_id, plenty),)
    if account.owner or currency in account.balances:
        return ()
    deposited = Deposited(
        account_id=account_id,
        amount=plenty,
        reference=OPENING,
        balance_minor=plenty.amount_minor,
        balance=_all_of(plenty),
    )
    return (deposited,)


def transferred(
    source_id: AccountId,
    target_id: AccountId,
    accounts: Mapping[str, Account],
    amount: Money,
    reference: str,
    *,
    from_hold: bool = False,
) -> tuple[AccountEvent, ...]:
    """Move money between two accounts: a domain service, because the rule belongs to neither of them alone.

    Requires: the source has the amount available, or holds it. The target is opened if it is not.
    """
    source, target, minor = accounts[source_id], accounts[target_id], amount.amount_minor
    nothing = Money(amount_minor=0, currency=amount.currency)
    opened = () if target.is_open else (_opened(target_id, nothing),)

    def entry(account_id: AccountId, balance_minor: int) -> MoneyTransferred:
        return MoneyTransferred(
            account_id=account_id,
            source=source_id,
            target=target_id,
            amount=amount,
            reference=reference,
            balance_minor=balance_minor,
            from_hold=from_hold,
            balance=Balance(amount_minor=balance_minor, currency=amount.currency),
        )

    return (
        *opened,
        entry(source_id, source.balance(amount.currency) - minor),
        entry(target_id, target.balance(amount.currency) + minor),
    )


def _opened(account_id: AccountId, amount: Money, *, owner: str = "") -> AccountOpened:
    return AccountOpened(account_id=account_id, owner=owner, amount=amount, balance=_all_of(amount))


def _all_of(amount: Money) -> Balance:
    return Balance(amount_minor=amount.amount_minor, currency=amount.currency)


def _booked(account: Account, delta_minor: int, amount: Money, balance_minor: int | None = None) -> Account:
    balance = account.balance(amount.currency) + delta_minor
    assert balance_minor in (None, balance), (balance, balance_minor)
    assert account.held_of(amount.currency) <= balance, account
    return replace(account, balances={**account.balances, amount.currency: balance})


def _held(account: Account, delta_minor: int, currency: str) -> Account:
    held = account.held_of(currency) + delta_minor
    assert 0 <= held <= account.balance(currency), (held, account)
    return replace(account, held={**account.held, currency: held})
