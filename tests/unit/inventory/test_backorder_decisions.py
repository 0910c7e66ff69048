"""Waiting orders are served oldest first per SKU, all lines or none, without starvation or deadlock (F23, F32)."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random

import pytest

from contexts.inventory import movement, reservation, stock
from contexts.inventory.backorder import BACKORDERS_AT_MOST
from contexts.inventory.commands import (
    AdjustStock,
    CommitStock,
    ExpireBackorder,
    MovementCommand,
    ReleaseStock,
    ReplenishStock,
    ReservationCommand,
    ReserveStock,
    SettleFailedShipment,
)
from contexts.inventory.events import (
    InventoryBackordered,
    InventoryRejected,
    InventoryReserved,
    StockEvent,
    StockItemRegistered,
    StockMovementRecorded,
)
from contexts.inventory.movement import StockMovement
from contexts.inventory.reservation import Reservation
from contexts.inventory.stock import StockItem
from contexts.kernel import Money, OrderId, Sku, SkuQuantity
from shared.context import Rejected

ASKED_AT = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
WAIT = timedelta(hours=72)
SEEDS = range(200)


REGISTERED = StockItemRegistered(sku=Sku("any"), name="Any", unit_price=Money(amount_minor=1250))


class Warehouse:
    """Decides commands one after the other, and tells which orders they served."""

    def __init__(self, **on_hand: int) -> None:
        self.stock: dict[str, StockItem] = defaultdict(lambda: StockItem(registered=REGISTERED))
        self.orders: dict[str, Reservation] = defaultdict(Reservation)
        self._deliveries = 0
        for sku, quantity in on_hand.items():
            self.deliver(sku, quantity)

    def order(self, order: str, *, allow_backorder: bool = True, **lines: int) -> list[str]:
        """Place an order with these quantities, by SKU."""
        wanted = tuple(SkuQuantity(sku=Sku(sku), quantity=quantity) for sku, quantity in lines.items())
        return self.decide(
            ReserveStock(order_id=OrderId(order), lines=wanted, allow_backorder=allow_backorder, asked_at=ASKED_AT)
        )

    def deliver(self, sku: str, quantity: int) -> list[str]:
        """Replenish a SKU."""
        self._deliveries += 1
        return self.decide(ReplenishStock(sku=Sku(sku), quantity=quantity, delivery_id=f"d-{self._deliveries}"))

    def release(self, order: str) -> list[str]:
        """Cancel an order."""
        return self.decide(ReleaseStock(order_id=OrderId(order), reason="customer"))

    def expire(self, order: str) -> list[str]:
        """Let a backorder expire."""
        return self.decide(ExpireBackorder(order_id=OrderId(order)))

    def decide(self, command: MovementCommand | ReservationCommand) -> list[str]:
        """Decide a command, and return the orders that are reserved now, in the order in which they are."""
        if isinstance(command, MovementCommand):
            events: tuple[object, ...] = movement.decide(command, StockMovement(), self.stock)
        else:
            state = self.orders[command.order_id]
            events = reservation.decide(command, state, self.stock, backorder_wait=WAIT)
        for event in events:
            if isinstance(event, StockEvent):
                self.stock[event.sku] = stock.evolve(self.stock[event.sku], event)
            elif not isinstance(event, StockMovementRecorded | Rejected):
                order = event.order_id  # type: ignore[attr-defined]
                self.orders[order] = reservation.evolve(self.orders[order], event)  # type: ignore[arg-type]
        return [event.order_id for event in events if isinstance(event, InventoryReserved)]

    @property
    def waiting(self) -> Mapping[str, list[str]]:
        """The orders that wait for each SKU, the oldest first."""
        return {sku: [one.order_id for one in item.waiting] for sku, item in self.stock.items() if item.waiting}

    @property
    def reserved(self) -> Mapping[str, int]:
        """The reserved units of each SKU, as they stand with the stock."""
        return {sku: item.reserved for sku, item in self.stock.items()}


def test_delivery_serves_the_oldest_first() -> None:
    room = Warehouse()
    for order in ("o-1", "o-2", "o-3"):
        assert room.order(order, mug=2) == []
    assert room.deliver("mug", 3) == ["o-1"]
    assert room.deliver("mug", 1) == ["o-2"]
    assert room.waiting == {"mug": ["o-3"]}


def test_older_order_for_two_skus_is_not_starved_by_younger_ones_for_one() -> None:
    room = Warehouse()
    room.order("o-old", mug=2, tea=1)
    room.order("o-mug", mug=1)
    room.order("o-tea", tea=1)
    assert room.deliver("mug", 1) == []
    assert room.deliver("mug", 1) == []
    assert room.deliver("tea", 1) == ["o-old"]
    assert room.deliver("mug", 1) == ["o-mug"]
    assert room.deliver("tea", 1) == ["o-tea"]


def test_newcomer_does_not_take_the_units_that_are_set_aside_for_a_waiting_order() -> None:
    room = Warehouse(mug=1)
    room.order("o-old", mug=1, tea=1)
    assert room.order("o-new", allow_backorder=False, mug=1) == []
    assert room.orders["o-new"].status == "REJECTED"
    assert room.deliver("tea", 1) == ["o-old"]


def test_units_beyond_those_that_older_orders_want_go_to_younger_ones_at_once() -> None:
    room = Warehouse(mug=3)
    room.order("o-old", mug=1, tea=1)
    assert room.order("o-new", allow_backorder=False, mug=2) == ["o-new"]
    assert room.order("o-newer", mug=1) == []
    assert room.deliver("mug", 1) == ["o-newer"]


@pytest.mark.parametrize("leave", [Warehouse.expire, Warehouse.release], ids=["expires", "is_cancelled"])
def test_order_that_leaves_gives_way_in_every_queue_it_stood_in(leave) -> None:  # type: ignore[no-untyped-def]
    room = Warehouse(mug=2, tea=1)
    room.order("o-old", mug=2, tea=1, pot=1)
    room.order("o-tea", tea=1)
    room.order("o-mug", mug=2)
    assert sorted(leave(room, "o-old")) == ["o-mug", "o-tea"]
    assert room.waiting == {}


@pytest.mark.parametrize("deliveries", permutations(("mug", "tea", "mug", "tea")))
def test_two_orders_for_the_same_two_skus_never_wait_for_each_other(deliveries: tuple[str, ...]) -> None:
    """The order in which the SKUs are replenished does not matter (F32)."""
    room = Warehouse()
    room.order("o-1", mug=1, tea=1)
    room.order("o-2", tea=1, mug=1)
    served = [order for sku in deliveries for order in room.deliver(sku, 1)]
    assert served == ["o-1", "o-2"]


@pytest.mark.parametrize(
    "give_back",
    [
        ReleaseStock(order_id=OrderId("o-has"), reason="customer"),
        SettleFailedShipment(order_id=OrderId("o-has"), stage="before_dispatch"),
        AdjustStock(sku=Sku("mug"), delta=1, reason="found behind the shelf"),
    ],
    ids=["released", "refused_by_the_carrier", "found"],
)
def test_units_that_come_back_serve_waiting_orders_as_a_delivery_does(
    give_back: ReleaseStock | SettleFailedShipment | AdjustStock,
) -> None:
    """P35: a release, a parcel that has not left, and a corrected count."""
    room = Warehouse(mug=1)
    room.order("o-has", mug=1)
    room.order("o-waits", mug=1)
    assert room.decide(give_back) == ["o-waits"]


def test_parcel_that_comes_back_serves_a_waiting_order() -> None:
    room = Warehouse(mug=1)
    room.order("o-has", mug=1)
    room.order("o-waits", mug=1)
    assert room.decide(CommitStock(order_id=OrderId("o-has"))) == []
    assert room.decide(SettleFailedShipment(order_id=OrderId("o-has"), stage="returned")) == ["o-waits"]


def test_order_waits_from_when_it_was_placed_and_says_for_what() -> None:
    room = Warehouse(mug=1)
    command = ReserveStock(
        order_id=OrderId("o-1"),
        lines=(SkuQuantity(sku=Sku("mug"), quantity=3),),
        allow_backorder=True,
        asked_at=ASKED_AT,
    )
    waits, *_ = reservation.decide(command, Reservation(), room.stock, backorder_wait=WAIT)
    assert isinstance(waits, InventoryBackordered)
    assert waits.expires_at == ASKED_AT + WAIT
    assert [(short.sku, short.requested, short.available) for short in waits.shortages] == [("mug", 3, 1)]


def test_queue_of_a_sku_has_a_bound_and_the_next_order_is_rejected() -> None:
    room = Warehouse(tea=1)
    for number in range(BACKORDERS_AT_MOST):
        room.order(f"o-{number}", mug=1)
    command = ReserveStock(
        order_id=OrderId("o-late"),
        lines=(SkuQuantity(sku=Sku("tea"), quantity=1), SkuQuantity(sku=Sku("mug"), quantity=1)),
        allow_backorder=True,
        asked_at=ASKED_AT,
    )
    (rejected,) = reservation.decide(command, Reservation(), room.stock, backorder_wait=WAIT)
    assert isinstance(rejected, InventoryRejected)
    assert room.deliver("mug", BACKORDERS_AT_MOST) == [f"o-{number}" for number in range(BACKORDERS_AT_MOST)]


@pytest.mark.parametrize("seed", SEEDS)
def test_nobody_waits_for_units_that_are_there_whatever_happens(seed: int) -> None:
    """Random orders, deliveries and ends: units are never promised twice, and the oldest order lacks stock itself."""
    random = Random(seed)
    room = Warehouse(mug=1, tea=1, pot=1)
    orders: list[str] = []
    for _ in range(60):
        match random.randrange(4):
            case 0 | 1:
                orders.append(f"o-{len(orders)}")
                skus = random.sample(("mug", "tea", "pot"), random.randint(1, 3))
                backorder = random.random() < 0.8
                room.order(orders[-1], allow_backorder=backorder, **{sku: random.randint(1, 3) for sku in skus})
            case 2:
                room.deliver(random.choice(("mug", "tea", "pot")), random.randint(1, 3))
            case _ if orders:
                random.choice((room.release, room.expire))(random.choice(orders))
        check(room)
    for sku in ("mug", "tea", "pot"):
        room.deliver(sku, 1000)
    assert room.waiting == {}


def check(room: Warehouse) -> None:
    """The queues and the reservations agree, and no waiting order could be served."""
    promised = dict.fromkeys(room.stock, 0)
    for order, state in room.orders.items():
        standing = {sku for sku, waiting in room.waiting.items() if order in waiting}
        assert standing == ({line.sku for line in state.lines} if state.status == "BACKORDERED" else set())
        for line in state.lines:
            promised[line.sku] += line.quantity if state.status == "RESERVED" else 0
        if state.status == "BACKORDERED":
            short = [line for line in state.lines if room.stock[line.sku].available_to(OrderId(order)) < line.quantity]
            assert short, f"{order} waits for units that are there"
    assert room.reserved == promised
