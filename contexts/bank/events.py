"""The events of the bank: accounts and their entries, and the holds of payments.

Money is booked twice: a MoneyTransferred stands in both accounts. Only AccountOpened, Deposited and Withdrawn have no
second account, because that money comes from outside the bank or leaves it. So the sum of all balances is what came in
less what went out.
"""

from typing import Annotated, Literal, TypeAlias

from msgspec import Struct

from contexts.bank.commands import AccountId, Operation, Reason
from contexts.kernel import Money, PaymentId
from shared.wire.messages import TOLD

OPENING = "opening"
"""The reference of the money that an account has from its opening."""

WithdrawalRefusal: TypeAlias = Literal["insufficient_funds", "account_unknown", "target_unknown"]


class Balance(Struct, frozen=True, kw_only=True):
    """The balance of an account in one currency; it may be larger than any amount that moves."""

    amount_minor: int
    currency: str


class AccountOpened(Struct, frozen=True, kw_only=True):
    """There is such an account, with this much from outside; one without an `owner` was opened by its first payment.

    `balance` is the balance after it, as in every entry; an event of an earlier release does not tell it.
    """

    account_id: AccountId
    owner: Annotated[str, TOLD]
    amount: Money
    reference: str = OPENING
    balance: Balance | None = None


class Deposited(Struct, frozen=True, kw_only=True):
    """Money came from outside; `balance_minor` is the amount of the balance after it, as in every entry."""

    account_id: AccountId
    amount: Annotated[Money, TOLD]
    reference: Annotated[str, TOLD]
    balance_minor: int
    balance: Balance | None = None


class Withdrawn(Struct, frozen=True, kw_only=True):
    """Money left the bank."""

    account_id: AccountId
    amount: Annotated[Money, TOLD]
    reference: Annotated[str, TOLD]
    balance_minor: int
    balance: Balance | None = None


class WithdrawalRejected(Struct, frozen=True, kw_only=True):
    """A withdrawal or transfer did not happen, and will not under this reference; `available_minor` is not held."""

    account_id: AccountId
    amount: Money
    reference: Annotated[str, TOLD]
    reason: Annotated[WithdrawalRefusal, TOLD]
    balance_minor: int
    available_minor: int
    balance: Balance | None = None


class MoneyTransferred(Struct, frozen=True, kw_only=True):
    """Money went from `source` to `target`: published in both accounts, in one transaction, each with its own balance.

    With `from_hold`, the source had held it for the payment `reference`, and holds it no more.
    """

    account_id: AccountId
    source: Annotated[AccountId, TOLD]
    target: Annotated[AccountId, TOLD]
    amount: Annotated[Money, TOLD]
    reference: str
    balance_minor: int
    from_hold: bool = False
    balance: Balance | None = None


class AmountHeld(Struct, frozen=True, kw_only=True):
    """A part of the balance is promised to a payment; `held_minor` is all that is held after it."""

    account_id: AccountId
    payment_id: PaymentId
    amount: Money
    held_minor: int


class HoldReleased(Struct, frozen=True, kw_only=True):
    """A payment does not happen, and its part of the balance is available again."""

    account_id: AccountId
    payment_id: PaymentId
    amount: Money
    held_minor: int


class VerificationRefused(Struct, frozen=True, kw_only=True):
    """No payment may come from this account."""

    account_id: AccountId
    reason: Annotated[Reason, TOLD]


AccountEvent: TypeAlias = (
    AccountOpened
    | Deposited
    | Withdrawn
    | WithdrawalRejected
    | MoneyTransferred
    | AmountHeld
    | HoldReleased
    | VerificationRefused
)


class BookingRecorded(Struct, frozen=True, kw_only=True):
    """The account has decided on this reference: published once for each, for ever. `booked` tells what it was."""

    account_id: AccountId
    reference: str
    booked: str


class HoldPlaced(Struct, frozen=True, kw_only=True):
    """The account holds the amount for this payment."""

    payment_id: PaymentId
    account_id: AccountId
    amount: Money


class HoldCaptured(Struct, frozen=True, kw_only=True):
    """The merchant has the amount."""

    payment_id: PaymentId
    account_id: AccountId
    amount: Money


class HoldVoided(Struct, frozen=True, kw_only=True):
    """Nothing is held for this payment, nor will be; without an account when nothing was."""

    payment_id: PaymentId
    account_id: AccountId


class CaptureRefunded(Struct, frozen=True, kw_only=True):
    """The account has this much back; `refunded_minor` is all that went back so far."""

    payment_id: PaymentId
    account_id: AccountId
    amount: Money
    refunded_minor: int


class BankRequestRefused(Struct, frozen=True, kw_only=True):
    """A request about a payment was refused, for good under its key."""

    payment_id: PaymentId
    account_id: AccountId
    operation: Annotated[Operation, TOLD]
    reason: Annotated[Reason, TOLD]


HoldEvent: TypeAlias = HoldPlaced | HoldCaptured | HoldVoided | CaptureRefunded | BankRequestRefused
