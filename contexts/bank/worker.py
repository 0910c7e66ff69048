"""The bank as one value."""

from typing import get_args

from contexts.bank import account, booking, hold
from contexts.bank.account import Account
from contexts.bank.booking import Booking
from contexts.bank.commands import AccountCommand, BookingCommand, Deposit, HoldCommand, OpenAccount, Transfer, Withdraw
from contexts.bank.endpoints import LOOKUP, endpoints
from contexts.bank.events import AccountEvent, BookingRecorded, HoldEvent
from contexts.bank.hold import Hold
from contexts.bank.older_books import take_over_older_books
from contexts.bank.settings import BankSettings
from shared.context import Aggregate, Context, Decider, Reads

LINGER_S = 0.1
"""Nobody waits to hear of the bank's entries: a client has its answer after the commit."""

ACCOUNT = Aggregate(
    name="account",
    key="account_id",
    state=Account,
    events=get_args(AccountEvent),
    evolve=account.evolve,
    linger_s=LINGER_S,
)
BOOKING = Aggregate(
    name="booking",
    key="account_id",
    part="reference",
    state=Booking,
    events=(BookingRecorded,),
    evolve=booking.evolve,
    linger_s=LINGER_S,
)
HOLD = Aggregate(
    name="hold",
    key="payment_id",
    state=Hold,
    events=get_args(HoldEvent),
    evolve=hold.evolve,
    linger_s=LINGER_S,
)


def context(settings: BankSettings) -> Context:
    """The bank, as slow as the settings say where a token asks for it; bookings and holds are decided with accounts."""
    return Context(
        name="bank",
        deciders=(
            Decider(aggregate=ACCOUNT, commands=get_args(AccountCommand), decide=account.decide),
            Decider(
                aggregate=BOOKING,
                commands=get_args(BookingCommand),
                decide=booking.decide,
                also_reads=(Reads(ACCOUNT, booking.accounts_of),),
            ),
            Decider(
                aggregate=HOLD,
                commands=get_args(HoldCommand),
                decide=hold.decide,
                also_reads=(Reads(ACCOUNT, hold.accounts_of, hold.account_in),),
            ),
        ),
        accepts=(OpenAccount, Deposit, Withdraw, Transfer),
        endpoints=endpoints(settings.bank_slow.total_seconds()),
        lookup=LOOKUP,
        before_open=take_over_older_books,
        unheard=(*get_args(AccountEvent), BookingRecorded, *get_args(HoldEvent)),
    )
