"""The requests that the bank takes, and its answers."""

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Raw, Struct

from contexts.kernel import MethodToken, Money, PaymentId

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
    """Move what was captured back, all of it or a part."""

    payment_id: Payment
    amount: Money


BankRequest: TypeAlias = Verify | Authorize | Capture | Void | Refund

OPERATIONS: dict[str, type[BankRequest]] = {
    "verify": Verify,
    "authorize": Authorize,
    "capture": Capture,
    "void": Void,
    "refund": Refund,
}
"""The request of each `svc.bank.<operation>`; `svc.bank.lookup` takes only the header `Idempotency-Key`."""

Refusal: TypeAlias = Literal["insufficient_funds", "declined", "capture_refused", "refund_refused", "not_possible"]
"""Why the bank says no; `not_possible` is a payment that is not in a state for what was asked."""


class Done(Struct, frozen=True, kw_only=True, tag_field="outcome", tag="done"):
    """It is done."""


class Refused(Struct, frozen=True, kw_only=True, tag_field="outcome", tag="refused"):
    """It is not done, and will not be under this key."""

    reason: Refusal


Outcome: TypeAlias = Done | Refused


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer that the bank gave under a key, if it gave one."""

    found: bool
    operation: str = ""
    answer: Raw = Raw()
