"""The questions to the bank: commands that clients publish, requests on `svc.bank.*`, and what requests become."""

from typing import Annotated, Literal, NewType, TypeAlias

from msgspec import Meta, Struct

from contexts.kernel import MINOR_UNITS_AT_MOST, MethodToken, Money, PaymentId, Text
from shared.wire.messages import FROM_SUBJECT, TOLD

AccountId = NewType("AccountId", str)

Reference: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200)]
"""Names one deposit, withdrawal or transfer of an account: it is booked once, for ever."""

Refusal: TypeAlias = Literal["opened_otherwise", "account_unknown", "reference_known_otherwise", "same_account"]
"""Why a command of a client is rejected; a withdrawal that the account cannot pay is an event of its own."""


class Some(Struct, frozen=True, kw_only=True):
    """An amount that moves: more than nothing."""

    amount_minor: Annotated[int, Meta(gt=0, le=MINOR_UNITS_AT_MOST)]
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")] = "EUR"


class OpenAccount(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Open an account with nothing on it."""

    account_id: Annotated[AccountId, FROM_SUBJECT] = AccountId("")
    owner: Annotated[Text, TOLD]


class Deposit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pay money in from outside, once per `reference`."""

    account_id: Annotated[AccountId, FROM_SUBJECT] = AccountId("")
    amount: Some
    reference: Annotated[Reference, TOLD]


class Withdraw(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pay money out, once per `reference`."""

    account_id: Annotated[AccountId, FROM_SUBJECT] = AccountId("")
    amount: Some
    reference: Annotated[Reference, TOLD]


class Transfer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move money to another account of the bank, once per `reference`."""

    account_id: Annotated[AccountId, FROM_SUBJECT] = AccountId("")
    to: Annotated[AccountId, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}\Z")]
    amount: Some
    reference: Annotated[Reference, TOLD]


BookingCommand: TypeAlias = Deposit | Withdraw | Transfer

Token = Annotated[MethodToken, Meta(min_length=1, max_length=500)]
Payment = Annotated[PaymentId, Meta(min_length=1, max_length=200)]


class Verify(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Would this method of payment be taken at all?"""

    method_token: Token


class Authorize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Hold an amount for a payment."""

    payment_id: Payment
    method_token: Token
    amount: Money


class Capture(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move what is held to the merchant, all of it."""

    payment_id: Payment
    amount: Money


class Void(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Let go what is held, and hold nothing for this payment ever after."""

    payment_id: Payment


class Refund(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Move what was captured back: all of it, or a part; the parts never exceed what was captured."""

    payment_id: Payment
    amount: Money


BankRequest: TypeAlias = Verify | Authorize | Capture | Void | Refund

Operation: TypeAlias = Literal["authorize", "capture", "void", "refund"]

Reason: TypeAlias = Literal["insufficient_funds", "declined", "capture_refused", "refund_refused", "not_possible"]
"""Why the bank refuses a request; `not_possible` is a payment that is not in a state for what was asked."""


class Done(Struct, frozen=True, kw_only=True, tag_field="outcome", tag="done"):
    """It is done."""


class Refused(Struct, frozen=True, kw_only=True, tag_field="outcome", tag="refused"):
    """It is not done, and will not be under this key."""

    reason: Reason


Outcome: TypeAlias = Done | Refused


class VerifyAccount(Struct, frozen=True, kw_only=True):
    """Say whether the account may pay at all."""

    account_id: AccountId


class PlaceHold(Struct, frozen=True, kw_only=True):
    """Hold an amount of an account for a payment."""

    payment_id: PaymentId
    account_id: AccountId
    amount: Money


class CaptureHold(Struct, frozen=True, kw_only=True):
    """Move what is held to the merchant."""

    payment_id: PaymentId
    amount: Money


class VoidHold(Struct, frozen=True, kw_only=True):
    """Let go what is held, or forbid to hold anything."""

    payment_id: PaymentId


class RefundCapture(Struct, frozen=True, kw_only=True):
    """Move all or a part of what was captured back."""

    payment_id: PaymentId
    amount: Money


HoldCommand: TypeAlias = PlaceHold | CaptureHold | VoidHold | RefundCapture
AccountCommand: TypeAlias = OpenAccount | VerifyAccount
