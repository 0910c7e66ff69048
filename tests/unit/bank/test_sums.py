"""No order of questions makes money from nowhere, and nothing that is held is spent."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct

from contexts.bank.account import Account
from contexts.bank.commands import (
    AccountId,
    CaptureHold,
    Deposit,
    OpenAccount,
    PlaceHold,
    RefundCapture,
    Some,
    Transfer,
    VoidHold,
    Withdraw,
)
from contexts.bank.events import AccountOpened, CaptureRefunded, Deposited, HoldCaptured, Withdrawn
from contexts.kernel import Money, PaymentId
from tests.unit.deciding import BANK, aggregate_of, decided, state_of

ACCOUNTS = st.sampled_from([AccountId("ann"), AccountId("bob"), AccountId("merchant"), AccountId("tok_norefund")])
PAYMENTS = st.sampled_from([PaymentId("p-1"), PaymentId("p-2")])
CURRENCIES = st.sampled_from(["EUR", "USD"])
MINOR = st.integers(1, 5)
SOME = st.builds(Some, amount_minor=MINOR, currency=CURRENCIES)
MONEY = st.builds(Money, amount_minor=st.integers(0, 5), currency=CURRENCIES)
REFERENCES = st.sampled_from(["a", "b", "c", "d"])
COMMANDS = st.one_of(
    st.builds(OpenAccount, account_id=ACCOUNTS, owner=st.just("somebody")),
    st.builds(Deposit, account_id=ACCOUNTS, amount=SOME, reference=REFERENCES),
    st.builds(Withdraw, account_id=ACCOUNTS, amount=SOME, reference=REFERENCES),
    st.builds(Transfer, account_id=ACCOUNTS, to=ACCOUNTS, amount=SOME, reference=REFERENCES),
    st.builds(PlaceHold, payment_id=PAYMENTS, account_id=ACCOUNTS, amount=MONEY),
    st.builds(CaptureHold, payment_id=PAYMENTS, amount=MONEY),
    st.builds(VoidHold, payment_id=PAYMENTS),
    st.builds(RefundCapture, payment_id=PAYMENTS, amount=MONEY),
)


def came_in(event: Struct, currency: str) -> int:
    """The money that an event brings from outside, or takes out."""
    match event:
        case AccountOpened() | Deposited() if event.amount.currency == currency:
            return event.amount.amount_minor
        case Withdrawn() if event.amount.currency == currency:
            return -event.amount.amount_minor
        case _:
            return 0


@settings(deadline=None, max_examples=300)
@given(commands=st.lists(COMMANDS, max_size=30))
def test_balances_are_what_came_in_and_refunds_never_exceed_captures(commands: list[Struct]) -> None:
    states: dict[str, Any] = {}
    events: list[Any] = []
    for command in commands:
        (decider,) = [one for one in BANK.deciders if type(command) in one.commands]
        for event in decided(decider, command, states):
            aggregate = aggregate_of(BANK, event)
            identity = aggregate.id_of(event)
            states[identity] = aggregate.evolve(state_of(states, aggregate, identity), event)
            events.append(event)
        accounts = [state for state in states.values() if isinstance(state, Account)]
        for currency in ("EUR", "USD"):
            kept = sum(account.balance(currency) for account in accounts)
            assert kept == sum(came_in(event, currency) for event in events)
            assert all(0 <= account.held_of(currency) <= account.balance(currency) for account in accounts)
    for payment in {event.payment_id for event in events if isinstance(event, HoldCaptured)}:
        captured = [one.amount for one in events if isinstance(one, HoldCaptured) and one.payment_id == payment]
        refunded = [one.amount for one in events if isinstance(one, CaptureRefunded) and one.payment_id == payment]
        assert len(captured) == 1
        assert sum(amount.amount_minor for amount in refunded) <= captured[0].amount_minor
