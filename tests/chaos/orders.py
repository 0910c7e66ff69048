"""A handful of orders with different fates, for a shop in which anything may happen meanwhile."""

import asyncio
from collections.abc import Iterable

import anyio
from msgspec import Struct

from tests.chaos.stage import Stage
from tests.e2e.ends import (
    CALLED_BACK,
    CAPTURE_REFUSED,
    JUST_TOO_LATE,
    PAYMENT_REFUSED,
    REFUSED_BY_CARRIER,
    SHIPPED,
    End,
    Ended,
    refunded,
    voided,
)

ENDS_WITHIN_S = 60.0


class Fate(Struct, frozen=True, kw_only=True):
    """What is done with an order, and the ends it may have."""

    name: str
    ends: tuple[End, ...]
    token: str = "tok_ok"
    postal_code: str = "3000"
    is_cancelled: bool = False


FATES = (
    Fate(name="shipped", ends=(SHIPPED,)),
    Fate(name="poor", ends=(PAYMENT_REFUSED,), token="tok_poor"),
    Fate(name="nocapture", ends=(CAPTURE_REFUSED,), token="tok_nocapture"),
    Fate(name="lost", ends=(SHIPPED,), token="tok_lost"),
    Fate(name="nowhere", ends=(REFUSED_BY_CARRIER,), postal_code="0000"),
    Fate(
        name="cancelled",
        ends=(voided("customer"), refunded("customer"), CALLED_BACK, JUST_TOO_LATE),
        token="tok_slow",
        is_cancelled=True,
    ),
)


class Placed(Struct, frozen=True, kw_only=True):
    """An order that was placed."""

    order: str
    fate: Fate


async def place_handful(stage: Stage, name: str, sku: str) -> list[Placed]:
    """One order of each fate; those to be cancelled are so when their goods are reserved."""
    handful = [Placed(order=f"o-{name}-{fate.name}", fate=fate) for fate in FATES]
    await asyncio.gather(*(_place(stage, placed, sku) for placed in handful))
    return handful


async def _place(stage: Stage, placed: Placed, sku: str) -> None:
    fate = placed.fate
    await stage.place(placed.order, sku, token=fate.token, postal_code=fate.postal_code, quickly=True)
    if fate.is_cancelled:
        await stage.until(placed.order, "InventoryReserved", within_s=ENDS_WITHIN_S)
        await stage.send_quickly("ordering.CancelOrder", placed.order, {"reason": "found it cheaper"})


async def check_ends(ended: Ended, orders: Iterable[Placed]) -> None:
    """Wait until each has one of its ends, and nothing else was said of it."""
    await asyncio.gather(
        *(ended.check(p.order, *p.fate.ends, token=p.fate.token, within_s=ENDS_WITHIN_S) for p in orders)
    )


async def check_said(stage: Stage, end: End, orders: Iterable[str], *, within_s: float) -> None:
    """The same where the stream was lost and mended: what it has then may stand before its cause."""
    for order in orders:
        with anyio.move_on_after(within_s):
            await stage.watcher.until_true(lambda order=order: end.is_reached(stage.facts(order)))  # type: ignore[misc]
        assert end.is_kept(stage.facts(order)), (order, stage.facts(order))
        assert stage.letters(order) == sorted(end.letters)
        assert stage.ledger(order) == list(end.money)
