"""Inventory promises an order all its lines or none; they are released, committed or lost once, in any sequence."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import NamedTuple, TypeAlias

import pytest

from contexts.inventory import reservation as reserving
from contexts.inventory import stock
from contexts.inventory.commands import (
    CommitStock,
    ExpireBackorder,
    ReleaseStock,
    ReservationCommand,
    ReserveStock,
    SettleFailedShipment,
)
from contexts.inventory.events import (
    BackorderDequeued,
    BackorderQueued,
    InventoryBackordered,
    InventoryRejected,
    InventoryReleased,
    InventoryReserved,
    ReservationEvent,
    Shortage,
    StockCommitted,
    StockEvent,
    StockLevelChanged,
    StockWrittenOff,
)
from contexts.inventory.reservation import Reservation, evolve, skus_of
from contexts.inventory.stock import StockItem
from contexts.kernel import OrderId, Sku, SkuQuantity
from tests.unit.inventory.levels import unnumbered

Event: TypeAlias = ReservationEvent | StockEvent

ORDER = OrderId("o-42")
MUG, TEA = Sku("mug"), Sku("tea")
LINES = (SkuQuantity(sku=MUG, quantity=2), SkuQuantity(sku=TEA, quantity=1))

ASKED_AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
RESERVE = ReserveStock(order_id=ORDER, lines=LINES)
BACKORDER = ReserveStock(order_id=ORDER, lines=LINES, allow_backorder=True, asked_at=ASKED_AT)
EXPIRE = ExpireBackorder(order_id=ORDER)
PAYMENT_FAILED = ReleaseStock(order_id=ORDER, reason="payment_failed")
CANCEL = ReleaseStock(order_id=ORDER, reason="customer")
CANCEL_UNDELIVERABLE = ReleaseStock(order_id=ORDER, reason="shipment_failed")
COMMIT = CommitStock(order_id=ORDER)
LOSE = SettleFailedShipment(order_id=ORDER, stage="lost")
RETURN = SettleFailedShipment(order_id=ORDER, stage="returned")
REFUSE = SettleFailedShipment(order_id=ORDER, stage="before_dispatch")

decide = unnumbered(partial(reserving.decide, backorder_wait=timedelta(hours=72)))

RESERVED = InventoryReserved(order_id=ORDER, lines=LINES)
REJECTED = InventoryRejected(order_id=ORDER, shortages=(Shortage(sku=MUG, requested=2, available=1),))
BACKORDERED = InventoryBackordered(
    order_id=ORDER,
    shortages=(Shortage(sku=MUG, requested=2, available=1),),
    expires_at=ASKED_AT + timedelta(hours=72),
    lines=LINES,
)
QUEUED = (
    BackorderQueued(sku=MUG, order_id=ORDER, quantity=2, skus=(MUG, TEA)),
    BackorderQueued(sku=TEA, order_id=ORDER, quantity=1, skus=(MUG, TEA)),
)
LEFT = (BackorderDequeued(sku=MUG, order_id=ORDER), BackorderDequeued(sku=TEA, order_id=ORDER))
RELEASED = InventoryReleased(order_id=ORDER, lines=LINES, reason="customer")
RELEASED_UNPAID = InventoryReleased(order_id=ORDER, lines=LINES, reason="payment_failed")
RELEASED_NOTHING = InventoryReleased(order_id=ORDER, lines=(), reason="customer")
RELEASED_NOTHING_UNPAID = InventoryReleased(order_id=ORDER, lines=(), reason="payment_failed")
RELEASED_NOTHING_FAILED = InventoryReleased(order_id=ORDER, lines=(), reason="shipment_failed")
PUT_BACK = InventoryReleased(order_id=ORDER, lines=LINES, reason="shipment_failed")
COMMITTED = StockCommitted(order_id=ORDER, lines=LINES)
WRITTEN_OFF = StockWrittenOff(order_id=ORDER, lines=LINES)


class Warehouse(NamedTuple):
    """The reservation of the order, and the stock beside it."""

    reservation: Reservation
    stock: dict[str, StockItem]


def level(sku: Sku, on_hand: int, reserved: int) -> StockLevelChanged:
    return StockLevelChanged(sku=sku, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


SHORT = (level(MUG, 10, 9), level(TEA, 5, 0))
FULL = (level(MUG, 10, 0), level(TEA, 5, 0))
HELD = (level(MUG, 10, 2), level(TEA, 5, 1))
GONE = (level(MUG, 8, 0), level(TEA, 4, 0))


def after(*events: Event) -> Warehouse:
    reservation, items = Reservation(), defaultdict[str, StockItem](StockItem)
    for event in events:
        if isinstance(event, StockEvent):
            items[event.sku] = stock.evolve(items[event.sku], event)
        else:
            reservation = evolve(reservation, event)
    return Warehouse(reservation, items)


HISTORIES: dict[str, tuple[Event, ...]] = {
    "new": FULL,
    "reserved": (*FULL, RESERVED, *HELD),
    "short": SHORT,
    "backordered": (*SHORT, BACKORDERED, *QUEUED),
    "expired": (*SHORT, BACKORDERED, *QUEUED, REJECTED, *LEFT),
    "served": (*SHORT, BACKORDERED, *QUEUED, level(MUG, 11, 9), RESERVED, level(MUG, 11, 11), level(TEA, 5, 1), *LEFT),
    "rejected": (*FULL, REJECTED),
    "released": (*FULL, RESERVED, *HELD, RELEASED, *FULL),
    "forbidden": (*FULL, RELEASED_NOTHING),
    "committed": (*FULL, RESERVED, *HELD, COMMITTED, *GONE),
    "returned": (*FULL, RESERVED, *HELD, COMMITTED, *GONE, PUT_BACK, *FULL),
    "written_off": (*FULL, RESERVED, *HELD, WRITTEN_OFF, *GONE),
}
COMMANDS: tuple[ReservationCommand, ...] = (
    RESERVE,
    BACKORDER,
    EXPIRE,
    PAYMENT_FAILED,
    CANCEL,
    CANCEL_UNDELIVERABLE,
    COMMIT,
    LOSE,
    RETURN,
    REFUSE,
)
ANSWERS: dict[tuple[str, ReservationCommand], tuple[Event, ...]] = {
    ("new", RESERVE): (RESERVED, *HELD),
    ("new", PAYMENT_FAILED): (RELEASED_NOTHING_UNPAID,),
    ("new", CANCEL): (RELEASED_NOTHING,),
    ("new", RETURN): (RELEASED_NOTHING_FAILED,),
    ("new", REFUSE): (RELEASED_NOTHING_FAILED,),
    ("new", BACKORDER): (RESERVED, *HELD),
    ("short", RESERVE): (REJECTED,),
    ("short", BACKORDER): (BACKORDERED, *QUEUED),
    ("short", PAYMENT_FAILED): (RELEASED_NOTHING_UNPAID,),
    ("short", CANCEL): (RELEASED_NOTHING,),
    ("short", RETURN): (RELEASED_NOTHING_FAILED,),
    ("short", REFUSE): (RELEASED_NOTHING_FAILED,),
    ("backordered", PAYMENT_FAILED): (RELEASED_NOTHING_UNPAID, *LEFT),
    ("backordered", CANCEL): (RELEASED_NOTHING, *LEFT),
    ("backordered", EXPIRE): (REJECTED, *LEFT),
    ("served", PAYMENT_FAILED): (RELEASED_UNPAID, level(MUG, 11, 9), level(TEA, 5, 0)),
    ("served", CANCEL): (RELEASED, level(MUG, 11, 9), level(TEA, 5, 0)),
    ("served", COMMIT): (COMMITTED, level(MUG, 9, 9), level(TEA, 4, 0)),
    ("served", LOSE): (WRITTEN_OFF, level(MUG, 9, 9), level(TEA, 4, 0)),
    ("served", RETURN): (PUT_BACK, level(MUG, 11, 9), level(TEA, 5, 0)),
    ("served", REFUSE): (PUT_BACK, level(MUG, 11, 9), level(TEA, 5, 0)),
    ("reserved", PAYMENT_FAILED): (RELEASED_UNPAID, *FULL),
    ("reserved", CANCEL): (RELEASED, *FULL),
    ("reserved", COMMIT): (COMMITTED, *GONE),
    ("reserved", LOSE): (WRITTEN_OFF, *GONE),
    ("reserved", RETURN): (PUT_BACK, *FULL),
    ("reserved", REFUSE): (PUT_BACK, *FULL),
    ("committed", LOSE): (WRITTEN_OFF,),
    ("committed", RETURN): (PUT_BACK, *FULL),
    ("committed", REFUSE): (PUT_BACK, *FULL),
}
"""Every answer there is. Any other command in any other state is too early, too late or asked before, and is quiet."""


def named(value: object) -> str:
    """The test id of a command: releases and failed shipments differ only in their reason."""
    match value:
        case ReleaseStock(reason=why) | SettleFailedShipment(stage=why):
            return why
        case ReserveStock(allow_backorder=True):
            return "BackorderStock"
        case tuple():
            return "-".join(map(named, value))
        case _:
            return value if isinstance(value, str) else type(value).__name__


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", COMMANDS, ids=named)
def test_every_command_in_every_state(history: str, command: ReservationCommand) -> None:
    assert decide(command, *after(*HISTORIES[history])) == ANSWERS.get((history, command), ())


@pytest.mark.parametrize(("history", "command"), ANSWERS, ids=named)
def test_asking_twice_gives_the_answer_once(history: str, command: ReservationCommand) -> None:
    answer = ANSWERS[history, command]
    assert decide(command, *after(*HISTORIES[history], *answer)) == ()


def test_all_lines_or_none_and_every_short_sku_is_named() -> None:
    """P10: one short SKU rejects the whole order."""
    answer = decide(RESERVE, *after(level(MUG, 10, 9)))
    shortages = (Shortage(sku=MUG, requested=2, available=1), Shortage(sku=TEA, requested=1, available=0))
    assert answer == (InventoryRejected(order_id=ORDER, shortages=shortages),)
    assert decide(RESERVE, *after(level(MUG, 10, 0), level(TEA, 1, 1))) == (
        InventoryRejected(order_id=ORDER, shortages=shortages[1:]),
    )


def test_lines_of_one_sku_merge() -> None:
    twice = ReserveStock(order_id=ORDER, lines=(LINES[0], LINES[1], LINES[0]))
    merged = (SkuQuantity(sku=MUG, quantity=4), LINES[1])
    assert decide(twice, *after(level(MUG, 4, 0), level(TEA, 1, 0))) == (
        InventoryReserved(order_id=ORDER, lines=merged),
        level(MUG, 4, 4),
        level(TEA, 1, 1),
    )
    assert decide(twice, *after(level(MUG, 3, 0), level(TEA, 1, 0))) == (
        InventoryRejected(order_id=ORDER, shortages=(Shortage(sku=MUG, requested=4, available=3),)),
    )


def test_release_that_comes_first_forbids_the_reservation() -> None:
    assert decide(PAYMENT_FAILED, *after(*FULL)) == (RELEASED_NOTHING_UNPAID,)
    assert decide(RESERVE, *after(*FULL, RELEASED_NOTHING_UNPAID)) == ()


def test_two_orders_race_for_the_last_unit_and_one_has_it() -> None:
    last = (SkuQuantity(sku=MUG, quantity=1),)
    first, second = (ReserveStock(order_id=OrderId(order), lines=last) for order in ("o-1", "o-2"))
    reserved, taken = decide(first, *after(level(MUG, 1, 0)))
    assert isinstance(reserved, InventoryReserved)
    assert taken == level(MUG, 1, 1)
    (rejected,) = decide(second, *after(level(MUG, 1, 1)))
    assert isinstance(rejected, InventoryRejected)


def test_failed_shipment_says_what_becomes_of_the_goods_and_the_cancellation_says_nothing() -> None:
    for history in HISTORIES.values():
        assert decide(CANCEL_UNDELIVERABLE, *after(*history)) == ()


@pytest.mark.parametrize(
    ("settled", "left"), [(LOSE, GONE), (RETURN, FULL)], ids=["lost_is_gone", "returned_is_on_the_shelf_again"]
)
@pytest.mark.parametrize("swapped", [False, True], ids=["shipped_first", "failed_first"])
def test_failed_shipment_and_the_news_of_its_dispatch_end_alike_in_any_order(
    settled: SettleFailedShipment, left: tuple[StockLevelChanged, ...], swapped: bool
) -> None:
    history: tuple[Event, ...] = (*FULL, RESERVED, *HELD)
    for command in (settled, COMMIT) if swapped else (COMMIT, settled):
        history += decide(command, *after(*history))
    assert [after(*history).stock[change.sku].on_hand for change in left] == [change.on_hand for change in left]
    assert [item.reserved for item in after(*history).stock.values()] == [0, 0]


@pytest.mark.parametrize("order", list(permutations((RESERVE, CANCEL, PAYMENT_FAILED))), ids=named)
def test_nothing_stays_reserved_for_an_order_that_does_not_happen(order: tuple[ReservationCommand, ...]) -> None:
    history: tuple[Event, ...] = FULL
    for command in (*order, *order):
        history += decide(command, *after(*history))
    assert sum(isinstance(event, InventoryReleased) for event in history) == 1
    assert [(item.on_hand, item.reserved) for item in after(*history).stock.values()] == [(10, 0), (5, 0)]


def test_stock_is_named_beforehand_where_it_is_known() -> None:
    assert skus_of(RESERVE) == (MUG, TEA)
    assert skus_of(CANCEL) == ()
