"""Payments' side of the bank against the bank itself: what one writes the other reads, and a key charges once."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from contexts.kernel import MethodToken, Money, OrderId, PaymentId
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
from contexts.payments.effects import BankOverNats, Cashier, refund_retry_delay
from contexts.payments.events import (
    AuthorizationRequested,
    BankRefusal,
    CaptureRequested,
    MethodVerificationRequested,
    RefundRequested,
    VoidRequested,
)
from contexts.payments.settings import PaymentsSettings
from contexts.payments.worker import context
from shared.context import Endpoints, Request, UnknownOutcomeError
from tests.integration.bank import open_bank

ORDER = OrderId("o-42")
PAYMENT = PaymentId("pay-o-42")
TOTAL = Money(amount_minor=4200)
NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)
HALF_A_MINUTE = timedelta(seconds=30)

CAPTURE = CaptureRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL)
VOID = VoidRequested(order_id=ORDER, payment_id=PAYMENT, reason="customer")


def authorize(token: str) -> AuthorizationRequested:
    return AuthorizationRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, method_token=MethodToken(token))


def refund(attempt: int) -> RefundRequested:
    return RefundRequested(order_id=ORDER, payment_id=PAYMENT, amount=TOTAL, attempt=attempt, reason="customer")


class DirectCall:
    """A call that reaches the bank's endpoints without NATS between, headers and lost answers as over NATS."""

    def __init__(self, bank: Endpoints, version: int) -> None:
        self._bank = bank
        self.idempotency_key = f"payments/payment-{ORDER}@{version}"
        self.attempt = 1
        self.now = NINE

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        answer = await self._bank[subject](Request(headers, body))
        if answer is None:
            raise UnknownOutcomeError(f"{subject} did not answer")
        if answer.error is not None:
            code, text = answer.error
            return {"Nats-Service-Error-Code": code, "Nats-Service-Error": text}, b""
        return {}, answer.body


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncIterator[Endpoints]:
    async with open_bank(tmp_path, slow_s=0) as endpoints:
        yield endpoints


CASHIER = Cashier(BankOverNats, HALF_A_MINUTE)


async def test_method_is_verified_without_moving_money(bank: Endpoints) -> None:
    def verify(token: str) -> MethodVerificationRequested:
        return MethodVerificationRequested(order_id=ORDER, attempt=2, method_token=MethodToken(token))

    approved = RecordMethodApproved(order_id=ORDER, attempt=2)
    declined = RecordMethodDeclined(order_id=ORDER, attempt=2, reason="declined")
    assert await CASHIER.verify(verify("tok_ok_1"), DirectCall(bank, 1)) == approved
    assert await CASHIER.verify(verify("tok_poor_1"), DirectCall(bank, 2)) == approved
    assert await CASHIER.verify(verify("tok_declined_1"), DirectCall(bank, 3)) == declined


async def test_money_is_held_then_taken_then_given_back(bank: Endpoints) -> None:
    assert await CASHIER.authorize(authorize("tok_ok_1"), DirectCall(bank, 1)) == RecordAuthorized(order_id=ORDER)
    assert await CASHIER.capture(CAPTURE, DirectCall(bank, 2)) == RecordCaptured(order_id=ORDER)
    assert await CASHIER.refund(refund(1), DirectCall(bank, 3)) == RecordRefunded(order_id=ORDER)


@pytest.mark.parametrize(("token", "reason"), [("tok_poor_1", "insufficient_funds"), ("tok_declined_1", "declined")])
async def test_authorization_that_is_refused_says_why(bank: Endpoints, token: str, reason: BankRefusal) -> None:
    refused = RecordAuthorizationRefused(order_id=ORDER, reason=reason)
    assert await CASHIER.authorize(authorize(token), DirectCall(bank, 1)) == refused


async def test_capture_that_is_refused_leaves_something_to_void(bank: Endpoints) -> None:
    refused = RecordCaptureRefused(order_id=ORDER, reason="capture_refused")
    await CASHIER.authorize(authorize("tok_nocapture_1"), DirectCall(bank, 1))
    assert await CASHIER.capture(CAPTURE, DirectCall(bank, 2)) == refused
    assert await CASHIER.void(VOID, DirectCall(bank, 3)) == RecordVoided(order_id=ORDER)


async def test_void_of_a_refused_authorization_is_done(bank: Endpoints) -> None:
    await CASHIER.authorize(authorize("tok_poor_1"), DirectCall(bank, 1))
    assert await CASHIER.void(VOID, DirectCall(bank, 2)) == RecordVoided(order_id=ORDER)


async def test_refund_that_is_refused_says_when_to_ask_again(bank: Endpoints) -> None:
    await CASHIER.authorize(authorize("tok_norefund_1"), DirectCall(bank, 1))
    await CASHIER.capture(CAPTURE, DirectCall(bank, 2))
    for attempt, retry_at in [(1, NINE + HALF_A_MINUTE), (2, NINE + 2 * HALF_A_MINUTE)]:
        assert await CASHIER.refund(refund(attempt), DirectCall(bank, 2 + attempt)) == RecordRefundRefused(
            order_id=ORDER, attempt=attempt, reason="refund_refused", retry_at=retry_at
        )
    assert await CASHIER.refund(refund(3), DirectCall(bank, 5)) == RecordRefunded(order_id=ORDER)


async def test_lost_answer_is_unknown_and_the_same_key_charges_once(bank: Endpoints) -> None:
    with pytest.raises(UnknownOutcomeError):
        await CASHIER.authorize(authorize("tok_lost_1"), DirectCall(bank, 1))
    assert await CASHIER.authorize(authorize("tok_lost_1"), DirectCall(bank, 1)) == RecordAuthorized(order_id=ORDER)


async def test_error_of_the_bank_is_unknown_and_never_a_refusal(bank: Endpoints) -> None:
    await CASHIER.authorize(authorize("tok_ok_1"), DirectCall(bank, 1))
    with pytest.raises(UnknownOutcomeError, match="409"):
        await CASHIER.capture(CAPTURE, DirectCall(bank, 1))


async def test_void_of_captured_money_is_no_outcome(bank: Endpoints) -> None:
    await CASHIER.authorize(authorize("tok_ok_1"), DirectCall(bank, 1))
    await CASHIER.capture(CAPTURE, DirectCall(bank, 2))
    with pytest.raises(UnknownOutcomeError, match="will not void"):
        await CASHIER.void(VOID, DirectCall(bank, 3))


@pytest.mark.parametrize("body", [b"", b"{}", b'{"outcome":"perhaps"}', b'{"outcome":"refused","reason":"mood"}'])
async def test_answer_that_cannot_be_read_is_unknown(body: bytes) -> None:
    class Mumbling(DirectCall):
        async def request(
            self, subject: str, body_: bytes, headers: Mapping[str, str]
        ) -> tuple[Mapping[str, str], bytes]:
            del subject, body_, headers
            return {}, body

    with pytest.raises(msgspec.MsgspecError):
        await CASHIER.authorize(authorize("tok_ok_1"), Mumbling({}, 1))


@pytest.mark.parametrize(
    ("attempt", "delay"),
    [
        (1, HALF_A_MINUTE),
        (2, timedelta(minutes=1)),
        (7, timedelta(minutes=32)),
        (8, timedelta(hours=1)),
        (10_000, timedelta(hours=1)),
    ],
)
def test_wait_for_a_refund_doubles_up_to_an_hour(attempt: int, delay: timedelta) -> None:
    assert refund_retry_delay(HALF_A_MINUTE, attempt) == delay


def test_wait_for_a_refund_is_never_longer_than_an_hour() -> None:
    assert refund_retry_delay(timedelta(days=36_500), 10_000) == timedelta(hours=1)


def test_every_call_waits_as_long_as_the_settings_say() -> None:
    effects = context(PaymentsSettings(effect_timeout=timedelta(seconds=3))).effects
    assert {effect.timeout_s for effect in effects} == {3.0}
    assert [effect.asked_by for effect in effects] == [
        MethodVerificationRequested,
        AuthorizationRequested,
        CaptureRequested,
        VoidRequested,
        RefundRequested,
    ]
