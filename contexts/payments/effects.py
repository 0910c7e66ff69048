"""Payments' calls to the bank: each is asked with the id of the event that wants it, so asking again charges once."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeAlias

import msgspec
from msgspec import Struct

from contexts.kernel import MethodToken, Money, PaymentId
from contexts.payments.commands import (
    RecordAuthorizationRefused,
    RecordAuthorized,
    RecordCaptured,
    RecordCaptureRefused,
    RecordMethodApproved,
    RecordMethodDeclined,
    RecordRefunded,
    RecordRefundRefused,
    RecordVoided,
)
from contexts.payments.events import (
    AuthorizationRequested,
    BankRefusal,
    CaptureRequested,
    MethodVerificationRequested,
    RefundRequested,
    VoidRequested,
)
from shared.context import Call, Effect, UnknownOutcomeError

REFUND_RETRY_DELAY_AT_MOST = timedelta(hours=1)
"""The bank is asked at least this often for money it keeps refusing to give back, for ever."""

CALLS_AT_ONCE = 64

LOOKUP = "svc.bank.lookup"
"""The bank tells here whether it knows an answer. One that was rebuilt lacks those without an event, as of `verify`."""


class Done(Struct, frozen=True, kw_only=True, tag_field="outcome", tag="done"):
    """The bank did it, now or when it was asked the same before."""


class Refused(Struct, frozen=True, kw_only=True, tag_field="outcome", tag="refused"):
    """The bank refuses it for good under this key."""

    reason: BankRefusal


Outcome: TypeAlias = Done | Refused


class Gateway(Protocol):
    """Moves money, under the idempotency key of one call.

    Every method raises UnknownOutcomeError when it is not known whether the money moved.
    """

    async def verify(self, method_token: MethodToken) -> Outcome:
        """Say whether a payment by this method would be taken; no money moves."""
        ...

    async def authorize(self, payment_id: PaymentId, amount: Money, method_token: MethodToken) -> Outcome:
        """Hold the amount."""
        ...

    async def capture(self, payment_id: PaymentId, amount: Money) -> Outcome:
        """Take what is held."""
        ...

    async def void(self, payment_id: PaymentId) -> Outcome:
        """Let go what is held, and forbid what was not held yet."""
        ...

    async def refund(self, payment_id: PaymentId, amount: Money) -> Outcome:
        """Give back what was taken, or a part of it."""
        ...


class BankRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every request to the bank."""

    payment_id: PaymentId | None = None
    amount: Money | None = None
    method_token: MethodToken | None = None


class BankOverNats:
    """The bank as a NATS service: `svc.bank.<op>` with the header `Idempotency-Key`."""

    def __init__(self, call: Call) -> None:
        self._call = call

    async def verify(self, method_token: MethodToken) -> Outcome:
        """Say whether a payment by this method would be taken."""
        return await self._ask("verify", BankRequest(method_token=method_token))

    async def authorize(self, payment_id: PaymentId, amount: Money, method_token: MethodToken) -> Outcome:
        """Hold the amount."""
        return await self._ask(
            "authorize", BankRequest(payment_id=payment_id, amount=amount, method_token=method_token)
        )

    async def capture(self, payment_id: PaymentId, amount: Money) -> Outcome:
        """Take what is held."""
        return await self._ask("capture", BankRequest(payment_id=payment_id, amount=amount))

    async def void(self, payment_id: PaymentId) -> Outcome:
        """Let go what is held, and forbid what was not held yet."""
        return await self._ask("void", BankRequest(payment_id=payment_id))

    async def refund(self, payment_id: PaymentId, amount: Money) -> Outcome:
        """Give back what was taken."""
        return await self._ask("refund", BankRequest(payment_id=payment_id, amount=amount))

    async def _ask(self, operation: str, request: BankRequest) -> Outcome:
        headers, body = await self._call.request(
            f"svc.bank.{operation}", _encode(request), {"Idempotency-Key": self._call.idempotency_key}
        )
        if code := headers.get("Nats-Service-Error-Code"):
            raise UnknownOutcomeError(f"the bank answers {code}: {headers.get('Nats-Service-Error', '')}")
        return _decode_outcome(body)


class Cashier:
    """Asks a gateway for what payments' events want, and brings the outcome back as a command."""

    def __init__(self, gateway: Callable[[Call], Gateway], refund_retry_delay: timedelta) -> None:
        self._gateway = gateway
        self._refund_retry_delay = refund_retry_delay

    async def verify(
        self, asked: MethodVerificationRequested, call: Call
    ) -> RecordMethodApproved | RecordMethodDeclined:
        """Have the bank say whether it would take the method."""
        match await self._gateway(call).verify(asked.method_token):
            case Done():
                return RecordMethodApproved(order_id=asked.order_id, attempt=asked.attempt)
            case Refused(reason=reason):
                return RecordMethodDeclined(order_id=asked.order_id, attempt=asked.attempt, reason=reason)

    async def authorize(
        self, asked: AuthorizationRequested, call: Call
    ) -> RecordAuthorized | RecordAuthorizationRefused:
        """Hold the amount."""
        match await self._gateway(call).authorize(asked.payment_id, asked.amount, asked.method_token):
            case Done():
                return RecordAuthorized(order_id=asked.order_id)
            case Refused(reason=reason):
                return RecordAuthorizationRefused(order_id=asked.order_id, reason=reason)

    async def capture(self, asked: CaptureRequested, call: Call) -> RecordCaptured | RecordCaptureRefused:
        """Take the amount."""
        match await self._gateway(call).capture(asked.payment_id, asked.amount):
            case Done():
                return RecordCaptured(order_id=asked.order_id)
            case Refused(reason=reason):
                return RecordCaptureRefused(order_id=asked.order_id, reason=reason)

    async def void(self, asked: VoidRequested, call: Call) -> RecordVoided:
        """Let the amount go. A payment that was not captured can always be voided, so a refusal is no outcome."""
        match await self._gateway(call).void(asked.payment_id):
            case Done():
                return RecordVoided(order_id=asked.order_id)
            case Refused(reason=reason):
                raise UnknownOutcomeError(
                    f"the bank will not void {asked.payment_id}, which was not captured: {reason}"
                )

    async def refund(self, asked: RefundRequested, call: Call) -> RecordRefunded | RecordRefundRefused:
        """Give the amount back."""
        match await self._gateway(call).refund(asked.payment_id, asked.amount):
            case Done():
                return RecordRefunded(order_id=asked.order_id, return_id=asked.return_id)
            case Refused(reason=reason):
                return RecordRefundRefused(
                    order_id=asked.order_id,
                    attempt=asked.attempt,
                    reason=reason,
                    retry_at=call.now + refund_retry_delay(self._refund_retry_delay, asked.attempt),
                    return_id=asked.return_id,
                )

    def effects(self, timeout_s: float) -> tuple[Effect, ...]:
        """The whole table of calls; after `timeout_s` the outcome of one is unknown."""
        effect = partial(Effect, timeout_s=timeout_s, at_once=CALLS_AT_ONCE)
        return (
            effect(
                asked_by=MethodVerificationRequested,
                call=self.verify,
                outcomes=(RecordMethodApproved, RecordMethodDeclined),
            ),
            effect(
                asked_by=AuthorizationRequested,
                call=self.authorize,
                outcomes=(RecordAuthorized, RecordAuthorizationRefused),
                lookup=LOOKUP,
            ),
            effect(
                asked_by=CaptureRequested,
                call=self.capture,
                outcomes=(RecordCaptured, RecordCaptureRefused),
                lookup=LOOKUP,
            ),
            effect(asked_by=VoidRequested, call=self.void, outcomes=(RecordVoided,)),
            effect(
                asked_by=RefundRequested,
                call=self.refund,
                outcomes=(RecordRefunded, RecordRefundRefused),
                lookup=LOOKUP,
            ),
        )


def refund_retry_delay(first: timedelta, attempt: int) -> timedelta:
    """How long to wait after the refusal of attempt 1, 2, 3…: twice as long each time, an hour at the most."""
    doublings = min(attempt - 1, 20)  # A shorter delay than 4 ms would not reach the hour, and need not.
    return min(min(first, REFUND_RETRY_DELAY_AT_MOST) * (1 << doublings), REFUND_RETRY_DELAY_AT_MOST)


_encode = msgspec.json.Encoder().encode
_decode_outcome: Callable[[bytes], Outcome] = msgspec.json.Decoder(Done | Refused).decode
