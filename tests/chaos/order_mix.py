"""One order of each kind, for a shop in which anything may happen meanwhile."""

import asyncio
from collections.abc import Iterable

import anyio
from msgspec import Struct

from tests.chaos.stage import Stage
from tests.e2e.ended import Ended
from tests.sagas import (
    CALLED_BACK,
    CAPTURE_REFUSED,
    JUST_TOO_LATE,
    PAYMENT_REFUSED,
    REFUSED_BY_CARRIER,
    SHIPPED,
    Ending,
    refunded,
    voided,
)
from tests.waiting import WITHIN_S


class Kind(Struct, frozen=True, kw_only=True):
    """The commands that one kind of order gets, and the endings that it may have."""

    name: str
    endings: tuple[Ending, ...]
    token: str = "tok_ok"
    postal_code: str = "3000"
    is_cancelled: bool = False


KINDS = (
    Kind(name="shipped", endings=(SHIPPED,)),
    Kind(name="poor", endings=(PAYMENT_REFUSED,), token="tok_poor"),
    Kind(name="nocapture", endings=(CAPTURE_REFUSED,), token="tok_nocapture"),
    Kind(name="lost", endings=(SHIPPED,), token="tok_lost"),
    Kind(name="nowhere", endings=(REFUSED_BY_CARRIER,), postal_code="0000"),
    Kind(
        name="cancelled",
        endings=(voided("customer"), refunded("customer"), CALLED_BACK, JUST_TOO_LATE),
        token="tok_slow",
        is_cancelled=True,
    ),
)


class Placed(Struct, frozen=True, kw_only=True):
    """An order that was placed."""

    order: str
    kind: Kind


async def place_one_of_each(stage: Stage, name: str, sku: str) -> list[Placed]:
    """Place one order of each kind; the customer cancels theirs when its goods are reserved."""
    mix = [Placed(order=f"o-{name}-{kind.name}", kind=kind) for kind in KINDS]
    await asyncio.gather(*(_place(stage, placed, sku) for placed in mix))
    return mix


async def _place(stage: Stage, placed: Placed, sku: str) -> None:
    kind = placed.kind
    await stage.place(placed.order, sku, token=kind.token, postal_code=kind.postal_code, quickly=True)
    if kind.is_cancelled:
        await stage.until(placed.order, "InventoryReserved")
        await stage.send_quickly("ordering.CancelOrder", placed.order, {"reason": "found it cheaper"})


async def check_endings(ended: Ended, orders: Iterable[Placed]) -> None:
    """Wait until each order has one of its endings, and assert that nothing else was published about it."""
    await asyncio.gather(*(ended.check(p.order, *p.kind.endings, token=p.kind.token) for p in orders))


async def check_after_loss(stage: Stage, ending: Ending, orders: Iterable[str]) -> None:
    """As `check_endings`, where EVENTS was lost and mended: a fact may stand there before its cause now."""
    for order in orders:
        with anyio.move_on_after(WITHIN_S):
            await stage.watcher.until_true(lambda order=order: ending.is_reached(stage.facts(order)))  # type: ignore[misc]
        assert ending.is_kept(stage.facts(order)), (order, stage.facts(order))
        assert stage.mails(order) == sorted(ending.mails)
        assert stage.ledger(order) == list(ending.money)
