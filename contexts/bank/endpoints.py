"""The requests on `svc.bank.<operation>`: which command each becomes, and which reply its events are.

Pure. A request names accounts and payments by any text, and a subject cannot carry every text: `key_of` makes a key.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct

from contexts.bank.commands import (
    AccountId,
    Authorize,
    Capture,
    CaptureHold,
    Done,
    Outcome,
    PlaceHold,
    Refund,
    RefundCapture,
    Refused,
    Verify,
    VerifyAccount,
    Void,
    VoidHold,
)
from contexts.bank.events import BankRequestRefused, VerificationRefused
from contexts.kernel import PaymentId
from shared.context import Endpoint
from shared.wire.messages import MalformedKeyError, check_key, content_hash

LOOKUP = "svc.bank.lookup"


def verify(asked: Verify) -> VerifyAccount:
    """Does the bank take this method at all?"""
    return VerifyAccount(account_id=account_of(asked.method_token))


def authorize(asked: Authorize) -> PlaceHold:
    """Each method has an account of its own."""
    return PlaceHold(
        payment_id=payment_of(asked.payment_id), account_id=account_of(asked.method_token), amount=asked.amount
    )


def capture(asked: Capture) -> CaptureHold:
    """The payment knows its account."""
    return CaptureHold(payment_id=payment_of(asked.payment_id), amount=asked.amount)


def void(asked: Void) -> VoidHold:
    """It may come before the authorization, and then forbids it."""
    return VoidHold(payment_id=payment_of(asked.payment_id))


def refund(asked: Refund) -> RefundCapture:
    """All of the capture, or a part."""
    return RefundCapture(payment_id=payment_of(asked.payment_id), amount=asked.amount)


def reply(events: tuple[Struct, ...]) -> Outcome:
    """Refused when one of the events says so; else done, also when there was nothing left to do."""
    for event in events:
        if isinstance(event, BankRequestRefused | VerificationRefused):
            return Refused(reason=event.reason)
    return Done()


def reply_delay_s(command: Any, events: tuple[Struct, ...], *, slow_s: float) -> float:
    """The bank is slow with each first answer about a `tok_slow…` account, and loses those about `tok_lost…`."""
    about = [getattr(one, "account_id", "") for one in (command, *events)]
    if any(account.startswith("tok_lost") for account in about):
        return float("inf")
    return slow_s if any(account.startswith("tok_slow") for account in about) else 0.0


def endpoints(slow_s: float) -> tuple[Endpoint, ...]:
    """The whole table of requests."""
    table: tuple[tuple[str, type[Struct], Callable[[Any], Struct]], ...] = (
        ("svc.bank.verify", Verify, verify),
        ("svc.bank.authorize", Authorize, authorize),
        ("svc.bank.capture", Capture, capture),
        ("svc.bank.void", Void, void),
        ("svc.bank.refund", Refund, refund),
    )
    reply_delay = partial(reply_delay_s, slow_s=slow_s)
    return tuple(
        Endpoint(subject=subject, request=request, asks=asks, answer=reply, reply_delay_s=reply_delay)
        for subject, request, asks in table
    )


def account_of(token: str) -> AccountId:
    """The account that pays for a method token."""
    return AccountId(key_of(token))


def payment_of(payment_id: str) -> PaymentId:
    """A payment's id as a key."""
    return PaymentId(key_of(payment_id))


def key_of(text: str) -> str:
    """The text itself if a subject can carry it; else its beginning, as far as it can, and a hash of all of it."""
    try:
        return check_key(text)
    except MalformedKeyError:
        beginning = re.sub(r"[^A-Za-z0-9_-]", "-", text[:31])
        return f"{beginning}-{content_hash(text.encode(errors='surrogatepass')).hex()}"
