"""Payments repeats a call to the bank whose outcome is unknown, and the bank acts once (R10, F14, F15, F16)."""

import pytest

from tests.chaos.stage import Stage
from tests.e2e.ended import Ended
from tests.sagas import RETURNED_AND_REFUNDED_LATE, SHIPPED
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

JOURNAL = "SELECT type FROM journal WHERE subject LIKE 'evt.%.' || ? ORDER BY n"


async def moved(stage: Stage, order: str, *reasons: str) -> None:
    """Wait until this money has moved for an order, by the books of the bank."""
    await until(lambda: stage.ledger(order) == list(reasons), f"{reasons} moved for {order}")


async def test_order_is_charged_once_though_the_answer_is_lost_and_payments_dies(stage: Stage, ended: Ended) -> None:
    """F14, F15: on real processes."""
    order = "o-unknown-lost"
    await stage.stock("lost", 10)
    await stage.place(order, "lost", token="tok_lost")
    await moved(stage, order, "capture")
    assert not stage.watcher.types(order)["PaymentSucceeded"]
    await stage.kill("payments")
    await stage.start("payments")
    await ended.check(order, SHIPPED, token="tok_lost")
    await stage.check_at_rest()


@pytest.mark.parametrize(
    ("call", "known"),
    [pytest.param(1, "AuthorizationRequested", marks=pytest.mark.long), (2, "CaptureRequested")],
)
async def test_order_is_charged_once_though_payments_dies_between_call_and_commit(
    stage: Stage, ended: Ended, call: int, known: str
) -> None:
    """F15: the bank has answered, and the answer was lost with the process."""
    order = f"o-unknown-{call}"
    await stage.stock(f"died{call}", 10)
    await stage.kill("payments")
    await stage.start("payments", failpoint=f"after-call:{call}")
    await stage.place(order, f"died{call}")
    await stage.dies("payments")
    decided = [kind for (kind,) in stage.rows("payments", JOURNAL, order)]  # It may have died before it published.
    assert known in decided
    assert "PaymentSucceeded" not in decided
    assert stage.ledger(order) == ["capture"] * (call - 1)
    await stage.start("payments")
    await ended.check(order, SHIPPED)
    await stage.check_at_rest()


async def test_order_is_refunded_once_though_the_bank_refuses_and_payments_dies(stage: Stage, ended: Ended) -> None:
    """F16: an event says that the refund is late, and when payments tries again."""
    order = "o-unknown-refund"
    await stage.stock("refund", 10)
    await stage.place(order, "refund", token="tok_norefund")
    shipped = await stage.until(order, "OrderShipped")
    await stage.send("shipping.ReportReturned", order, {"tracking_no": shipped.content["tracking_no"]})
    refused = await stage.until(order, "RefundFailed")
    await stage.kill("payments")
    assert refused.content["attempt"] == 1
    assert refused.content["retry_at"] > refused.headers["Occurred-At"]
    assert stage.ledger(order) == ["capture"]
    await stage.until(order, "CustomerNotified", times=6)
    assert "refund_delayed" in stage.mails(order)
    await stage.start("payments")
    await ended.check(order, RETURNED_AND_REFUNDED_LATE, token="tok_norefund")
    await stage.check_at_rest()


@pytest.mark.parametrize(
    "place",
    [
        pytest.param("after-take", marks=pytest.mark.long),
        "inside-transaction",
        "after-commit",
        pytest.param("before-publish", marks=pytest.mark.long),
    ],
)
async def test_order_is_charged_once_though_the_bank_dies_before_it_has_answered(
    stage: Stage, ended: Ended, place: str
) -> None:
    """A request is in no stream: payments asks again under the same key, and the bank has decided it or has not."""
    order = f"o-unknown-bank-{place}"
    await stage.stock(f"bank-{place}", 10)
    await stage.kill("bank")
    await stage.start("bank", failpoint=f"{place}:1")
    await stage.place(order, f"bank-{place}")
    await stage.dies("bank")
    await stage.start("bank")
    await ended.check(order, SHIPPED)
    assert stage.ledger(order) == ["capture"]
    await stage.check_at_rest()
