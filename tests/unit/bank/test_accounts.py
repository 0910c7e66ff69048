"""Accounts and bookings: once per reference, never below what is held, and a transfer in both accounts."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from contexts.bank import account
from contexts.bank.account import Account, evolve
from contexts.bank.booking import Booking, decide
from contexts.bank.commands import AccountId, BookingCommand, Deposit, OpenAccount, Some, Transfer, Withdraw
from contexts.bank.events import (
    AccountOpened,
    Balance,
    BookingRecorded,
    Deposited,
    MoneyTransferred,
    WithdrawalRejected,
    Withdrawn,
)
from contexts.kernel import Money
from shared.context import Rejected


def euros(minor: int) -> Balance:
    return Balance(amount_minor=minor, currency="EUR")


ANN, BOB = AccountId("account-123"), AccountId("account-456")
OPEN = OpenAccount(account_id=ANN, owner="Ann")
OPENED = AccountOpened(account_id=ANN, owner="Ann", amount=Money(amount_minor=0), balance=euros(0))

DEPOSIT = Deposit(account_id=ANN, amount=Some(amount_minor=1000), reference="salary")
WITHDRAW = Withdraw(account_id=ANN, amount=Some(amount_minor=300), reference="rent")
TRANSFER = Transfer(account_id=ANN, to=BOB, amount=Some(amount_minor=300), reference="gift")
EACH = pytest.mark.parametrize("command", [DEPOSIT, WITHDRAW, TRANSFER], ids=lambda one: type(one).__name__)


def holding(minor: int, held_minor: int = 0) -> Account:
    return Account(status="OPEN", owner="Ann", balances={"EUR": minor}, held={"EUR": held_minor})


def with_ann(ann: Account, bob: Account | None = None) -> Mapping[str, Account]:
    return {ANN: ann, BOB: Account(status="OPEN", owner="Bob") if bob is None else bob}


def recorded(command: BookingCommand, booked: str) -> BookingRecorded:
    return BookingRecorded(account_id=ANN, reference=command.reference, booked=booked)


def rejection(events: tuple[Any, ...]) -> Any:
    (rejected,) = [event for event in events if isinstance(event, Rejected | WithdrawalRejected)]
    return rejected


def test_account_is_opened_once_with_nothing_on_it() -> None:
    assert account.decide(OPEN, Account()) == (OPENED,)
    assert account.decide(OPEN, evolve(Account(), OPENED)) == ()


@pytest.mark.parametrize("owner", ["Bob", ""])
def test_account_of_another_owner_is_not_opened_again(owner: str) -> None:
    known = evolve(Account(), replace(OPENED, owner=owner))
    assert rejection(account.decide(OPEN, known)).reason == "opened_otherwise"


def test_deposit_comes_from_outside() -> None:
    deposited = Deposited(
        account_id=ANN, amount=Money(amount_minor=1000), reference="salary", balance_minor=1500, balance=euros(1500)
    )
    assert decide(DEPOSIT, Booking(), with_ann(holding(500))) == (
        deposited,
        recorded(DEPOSIT, "Deposit of 1000 EUR"),
    )


def test_entries_of_an_earlier_release_do_not_tell_the_balance_as_money_and_count_all_the_same() -> None:
    opened = msgspec.json.decode(
        b'{"account_id": "account-123", "owner": "Ann", "amount": {"amount_minor": 0}}', type=AccountOpened
    )
    deposited = msgspec.json.decode(
        b'{"account_id": "account-123", "amount": {"amount_minor": 500}, "reference": "salary", "balance_minor": 500}',
        type=Deposited,
    )
    assert (opened.balance, deposited.balance) == (None, None)
    assert evolve(evolve(Account(), opened), deposited).balance("EUR") == 500


def test_balance_may_be_larger_than_any_amount() -> None:
    rich = holding(10**12)
    deposited, _ = decide(DEPOSIT, Booking(), with_ann(rich))
    assert msgspec.json.decode(msgspec.json.encode(deposited), type=Deposited) == deposited


def test_deposit_to_an_account_that_is_not_there_is_refused_and_may_be_asked_again() -> None:
    assert decide(DEPOSIT, Booking(), with_ann(Account())) == (
        Rejected.at("account_unknown", "$", "open account-123 with OpenAccount"),
    )


def test_withdrawal_leaves_the_bank() -> None:
    withdrawn = Withdrawn(
        account_id=ANN, amount=Money(amount_minor=300), reference="rent", balance_minor=200, balance=euros(200)
    )
    assert decide(WITHDRAW, Booking(), with_ann(holding(500))) == (
        withdrawn,
        recorded(WITHDRAW, "Withdraw of 300 EUR"),
    )


@pytest.mark.parametrize(("minor", "held_minor"), [(299, 0), (500, 201)])
def test_withdrawal_beyond_what_is_available_is_rejected_for_good(minor: int, held_minor: int) -> None:
    events = decide(WITHDRAW, Booking(), with_ann(holding(minor, held_minor)))
    rejected = rejection(events)
    assert (rejected.reason, rejected.balance_minor) == ("insufficient_funds", minor)
    assert rejected.balance == euros(minor)
    assert rejected.available_minor == minor - held_minor
    assert evolve(holding(minor, held_minor), rejected) == holding(minor, held_minor)
    assert decide(WITHDRAW, Booking(booked="Withdraw of 300 EUR"), with_ann(holding(9999))) == ()


def test_transfer_stands_in_both_accounts() -> None:
    def entry(of: AccountId, balance_minor: int) -> MoneyTransferred:
        return MoneyTransferred(
            account_id=of,
            source=ANN,
            target=BOB,
            amount=Money(amount_minor=300),
            reference="gift",
            balance_minor=balance_minor,
            balance=euros(balance_minor),
        )

    assert decide(TRANSFER, Booking(), with_ann(holding(500), holding(10))) == (
        entry(ANN, 200),
        entry(BOB, 310),
        recorded(TRANSFER, "Transfer of 300 EUR to account-456"),
    )


@pytest.mark.parametrize(
    ("ann", "bob", "reason"),
    [
        (holding(299), holding(0), "insufficient_funds"),
        (holding(300), Account(), "target_unknown"),
        (Account(), holding(0), "account_unknown"),
    ],
)
def test_transfer_that_cannot_be_moves_nothing(ann: Account, bob: Account, reason: str) -> None:
    rejected, known = decide(TRANSFER, Booking(), with_ann(ann, bob))
    assert (rejection((rejected,)).reason, type(known)) == (reason, BookingRecorded)


def test_transfer_to_the_same_account_is_refused() -> None:
    assert rejection(decide(replace(TRANSFER, to=ANN), Booking(), with_ann(holding(500)))).reason == "same_account"


@EACH
def test_same_reference_is_booked_once(command: BookingCommand) -> None:
    *_, known = decide(command, Booking(), with_ann(holding(500)))
    assert isinstance(known, BookingRecorded)
    assert decide(command, Booking(booked=known.booked), with_ann(holding(500))) == ()


@EACH
def test_same_reference_for_something_else_is_refused(command: BookingCommand) -> None:
    (refused,) = decide(command, Booking(booked="Deposit of 999 EUR"), with_ann(holding(500)))
    assert isinstance(refused, Rejected)
    assert refused.reason == "reference_known_otherwise"
    assert refused.details[0].path == "$.reference"
