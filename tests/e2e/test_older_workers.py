"""Workers of the first release beside those of today, on real processes (R18). tests/unit has it in virtual time."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.wire.messages import SCHEMA_VERSION
from tests.e2e.ended import Ended
from tests.e2e.shop import Shop, opened
from tests.sagas import DELIVERED

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.long,
]

OLDER = "tests.older_worker"


@pytest_asyncio.fixture(loop_scope="session")
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    async with opened(Shop, tmp_path) as running:
        await running.stock("mug", 100)
        yield running


async def ship(shop: Shop, *orders: str) -> None:
    for order in orders:
        await shop.place(order, "mug", quickly=True)
    for order in orders:
        await shop.until(order, "OrderShipped")


async def deliver(shop: Shop, *orders: str) -> None:
    for order in orders:
        shipped = await shop.until(order, "OrderShipped")
        body = {"tracking_no": shipped.content["tracking_no"]}
        await shop.send_quickly("shipping.ReportDelivered", order, body)
    for order in orders:
        await Ended(shop).check(order, DELIVERED)


async def versions(shop: Shop, event: str, *orders: str) -> set[str]:
    return {(await shop.until(order, event)).headers[SCHEMA_VERSION] for order in orders}


async def test_old_and_new_workers_share_a_database_and_take_over_from_each_other(shop: Shop) -> None:
    """Each decides on parcels that the other one has shipped; the reader of today takes both forms."""
    orders = [f"o-{number}" for number in range(16)]
    await shop.stop("shipping")
    await shop.start("shipping.1", "shipping", "0", module=OLDER)
    await shop.start("shipping.2", "--partitions", "1,2,3")
    await ship(shop, *orders)
    assert await versions(shop, "OrderShipped", *orders) == {"1", "2"}

    await shop.kill("shipping.1", "shipping.2")
    await shop.start("shipping.1", "shipping", module=OLDER)  # Back to the release before.
    await deliver(shop, *orders[:8])
    assert await versions(shop, "OrderDelivered", *orders[:8]) == {"1"}

    await shop.kill("shipping.1")
    await shop.start("shipping")
    await deliver(shop, *orders[8:])
    assert await versions(shop, "OrderDelivered", *orders[8:]) == {"2"}


async def test_old_reader_takes_the_events_of_a_new_writer(shop: Shop) -> None:
    await shop.stop("ordering")
    await shop.start("ordering.1", "ordering", module=OLDER)
    await ship(shop, "o-1")
    await deliver(shop, "o-1")
    assert await versions(shop, "OrderDelivered", "o-1") == {"2"}
    assert (await shop.until("o-1", "DeliveryRecorded")).content["delivered_at"] is None
