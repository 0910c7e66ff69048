"""Whether the bank would take the payment details of one attempt of a customer; nothing is held or charged.

Pure: no I/O, clock, randomness or logging. Asking twice gives the answer once. Each attempt is an aggregate of its own,
and the answer names it, so that ordering can tell a late answer from the latest.
"""

from typing import Literal, TypeAlias, assert_never

from msgspec import Struct

from contexts.payments.commands import MethodCommand, RecordMethodApproved, RecordMethodDeclined, VerifyMethod
from contexts.payments.events import MethodEvent, MethodVerificationRequested, PaymentApproved, PaymentDeclined

Status: TypeAlias = Literal["NEW", "VERIFYING", "APPROVED", "DECLINED"]


class MethodCheck(Struct, frozen=True, kw_only=True):
    """The answer to one attempt."""

    status: Status = "NEW"


def decide(command: MethodCommand, check: MethodCheck) -> tuple[MethodEvent, ...]:
    """Decide on the command: no event when it was answered before."""
    order_id, attempt = command.order_id, command.attempt
    match command, check.status:
        case VerifyMethod(), "NEW":
            asked = MethodVerificationRequested(order_id=order_id, attempt=attempt, method_token=command.method_token)
            return (asked,)
        case RecordMethodApproved(), "VERIFYING":
            return (PaymentApproved(order_id=order_id, attempt=attempt),)
        case RecordMethodDeclined(), "VERIFYING":
            return (PaymentDeclined(order_id=order_id, attempt=attempt, reason=command.reason),)
        case ((VerifyMethod() | RecordMethodApproved() | RecordMethodDeclined()), _):
            return ()
        case _:
            assert_never(command)


def evolve(check: MethodCheck, event: MethodEvent) -> MethodCheck:
    """The check after one of its events."""
    match event:
        case MethodVerificationRequested():
            assert check.status == "NEW", check.status
            return MethodCheck(status="VERIFYING")
        case PaymentApproved():
            assert check.status == "VERIFYING", check.status
            return MethodCheck(status="APPROVED")
        case PaymentDeclined():
            assert check.status == "VERIFYING", check.status
            return MethodCheck(status="DECLINED")
        case _:
            assert_never(event)
