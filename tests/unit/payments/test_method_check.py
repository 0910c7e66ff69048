"""Payments has the bank answer each attempt of payment details once."""

import pytest

from contexts.kernel import MethodToken, OrderId
from contexts.payments.commands import MethodCommand, RecordMethodApproved, RecordMethodDeclined, VerifyMethod
from contexts.payments.events import MethodEvent, MethodVerificationRequested, PaymentApproved, PaymentDeclined
from contexts.payments.method_check import MethodCheck, decide, evolve

ORDER = OrderId("b-1")
VERIFY = VerifyMethod(order_id=ORDER, attempt=2, method_token=MethodToken("tok_ok"))
APPROVE = RecordMethodApproved(order_id=ORDER, attempt=2)
DECLINE = RecordMethodDeclined(order_id=ORDER, attempt=2, reason="declined")
ASKED = MethodVerificationRequested(order_id=ORDER, attempt=2, method_token=MethodToken("tok_ok"))
APPROVED = PaymentApproved(order_id=ORDER, attempt=2)
DECLINED = PaymentDeclined(order_id=ORDER, attempt=2, reason="declined")

HISTORIES: dict[str, tuple[MethodEvent, ...]] = {
    "new": (),
    "asked": (ASKED,),
    "approved": (ASKED, APPROVED),
    "declined": (ASKED, DECLINED),
}
ANSWERS: dict[tuple[str, MethodCommand], tuple[MethodEvent, ...]] = {
    ("new", VERIFY): (ASKED,),
    ("asked", APPROVE): (APPROVED,),
    ("asked", DECLINE): (DECLINED,),
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", [VERIFY, APPROVE, DECLINE], ids=lambda command: type(command).__name__)
def test_every_command_in_every_state(history: str, command: MethodCommand) -> None:
    check = MethodCheck()
    for event in HISTORIES[history]:
        check = evolve(check, event)
    assert decide(command, check) == ANSWERS.get((history, command), ())
