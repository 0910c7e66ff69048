"""Several orders at once, which cover all partitions."""

import asyncio
from collections.abc import Sequence

from shared.wire.messages import partition_of
from tests.e2e.ended import Ended
from tests.e2e.shop import Shop
from tests.sagas import SHIPPED

PARTITIONS = 4


def orders_of(name: str, number: int) -> list[str]:
    orders = [f"{name}-{n}" for n in range(number)]
    assert {partition_of(order, PARTITIONS) for order in orders} == set(range(PARTITIONS))
    return orders


async def place_all(shop: Shop, orders: Sequence[str], sku: str, token: str = "tok_ok") -> None:
    await asyncio.gather(*(shop.place(order, sku, token=token, quickly=True) for order in orders))


async def check_all(ended: Ended, orders: Sequence[str], token: str = "tok_ok") -> None:
    await asyncio.gather(*(ended.check(order, SHIPPED, token=token) for order in orders))
