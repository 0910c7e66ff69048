"""A context that was away past a deadline decides the waiting events before the timers that came due (R15)."""

import asyncio
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from shared.wire.streams import TIMERS
from tests.chaos.stage import CHECKED_EVERY_S, Stage
from tests.e2e.ended import Ended
from tests.e2e.shop import opened
from tests.sagas import CALLED_BACK, SHIPPED
from tests.waiting import WITHIN_S

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hasty(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """A stage where orders expire soon, and parcels wait a little for their carrier."""
    directory = tmp_path_factory.mktemp("hasty")
    async with opened(Stage, directory, order_deadline="4s", dispatch_delay="2s", bank_slow="500ms") as stage:
        yield stage


@pytest.fixture(scope="module")
def ended_hastily(hasty: Stage) -> Ended:
    """The sagas of the hasty stage that have ended."""
    return Ended(hasty)


async def came_due(stage: Stage, context: str, timer: str, orders: list[str]) -> None:
    """Wait until the server has put these timers into the stream."""
    wanted = set(orders)
    with anyio.fail_after(WITHIN_S):
        while wanted:
            due = (await stage.evidence()).streams[TIMERS]
            wanted -= {s.subject.split(".")[4] for s in due if s.subject.startswith(f"due.{context}.{timer}.")}
            await anyio.sleep(CHECKED_EVERY_S)


async def test_order_is_confirmed_though_its_deadline_passed_while_ordering_was_away(
    hasty: Stage, ended_hastily: Ended
) -> None:
    """The payment succeeded in time, but ordering hears of it when the timer is in the stream already."""
    orders = [f"o-late-{n}" for n in range(8)]
    await hasty.stock("late", 100)
    await asyncio.gather(*(hasty.place(order, "late", token="tok_slow", quickly=True) for order in orders))
    await asyncio.gather(*(hasty.until(order, "OrderPlaced") for order in orders))
    await hasty.kill("ordering")
    await asyncio.gather(*(hasty.until(order, "PaymentSucceeded") for order in orders))
    await came_due(hasty, "ordering", "OrderDeadline", orders)
    assert not any(hasty.watcher.types(order)["OrderConfirmed"] for order in orders)
    await hasty.start("ordering")
    checks = (ended_hastily.check(order, SHIPPED, token="tok_slow") for order in orders)
    await asyncio.gather(*checks)
    await hasty.check_at_rest()


async def test_parcel_stays_though_its_dispatch_came_due_while_shipping_was_away(
    hasty: Stage, ended_hastily: Ended
) -> None:
    """The customer cancelled in time, but shipping hears of it when the timer is in the stream already."""
    orders = [f"o-back-{n}" for n in range(4)]
    await hasty.stock("back", 100)
    await asyncio.gather(*(hasty.place(order, "back", quickly=True) for order in orders))
    await asyncio.gather(*(hasty.until(order, "DeliveryScheduled") for order in orders))
    await hasty.kill("shipping")
    for order in orders:
        await hasty.send_quickly("ordering.CancelOrder", order, {"reason": "found it cheaper"})
    await asyncio.gather(*(hasty.until(order, "OrderCancellationRequested") for order in orders))
    await came_due(hasty, "shipping", "DispatchDue", orders)
    await hasty.start("shipping")
    await asyncio.gather(*(ended_hastily.check(order, CALLED_BACK) for order in orders))
    await hasty.check_at_rest()
