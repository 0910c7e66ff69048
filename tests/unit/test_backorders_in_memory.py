"""Orders that wait for stock, in virtual time: served, expired, cancelled, and unpaid meanwhile."""

from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from contexts.inventory.commands import AdjustStock, RegisterStockItem, ReplenishStock
from contexts.kernel import Line, Sku
from contexts.ordering.commands import PlaceOrder
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import partition_of
from tests.sagas import BACKORDER_CANCELLED, BACKORDER_EXPIRED, BACKORDERED, OUT_OF_STOCK, SERVED, SHIPPED
from tests.unit.shopping import (
    CANCEL,
    MUG,
    PRICE,
    TOTAL,
    books,
    ended,
    ending_of,
    fill_shelves,
    level,
    mails,
    money,
    order,
)

TEA = Sku("tea")
DELIVERY = ReplenishStock(quantity=2, delivery_id="d-2")
SEEDS = (1, pytest.param(2, marks=pytest.mark.long))


@pytest.fixture(params=SEEDS)
def running(request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """A shop with one mug and one tea."""
    with simulation(seed=request.param, partitions=2) as opened:
        fill_shelves(opened, MUG, 1)
        fill_shelves(opened, TEA, 1)
        yield opened


def backorder(*skus: Sku, token: str = "tok_ok", quantity: int = 2) -> PlaceOrder:
    """An order that may wait."""
    lines = tuple(Line(sku=sku, quantity=quantity, unit_price=PRICE) for sku in skus or (MUG,))
    return replace(order(token=token, allow_backorder=True), lines=lines)


def send(shop: Simulation, *keys: str, wants: PlaceOrder) -> None:
    """Place these orders one after the other."""
    for key in keys:
        shop.send(wants, key=key)
        shop.run_until_quiet()


def test_order_waits_with_its_money_held_and_ships_when_stock_comes(running: Simulation) -> None:
    """P11, F23: the total is held while the order waits."""
    send(running, "o-1", wants=backorder())
    running.advance(hours=1)
    ending_of(running, "o-1", BACKORDERED)
    assert running.content("o-1", "PaymentAuthorized")["amount"]["amount_minor"] == TOTAL
    assert running.content("o-1", "InventoryBackordered")["shortages"] == [
        {"sku": "mug", "requested": 2, "available": 1}
    ]
    assert "waits for stock" in mails(running, "o-1")["order_backordered"]["Subject"]
    running.send(DELIVERY, key=MUG)
    running.run_until_quiet()
    ending_of(running, "o-1", SERVED)
    assert (books(running), level(running)) == (money(SERVED), (1, 0))
    running.advance(days=4)
    ending_of(running, "o-1", SERVED)


def test_order_that_may_not_wait_is_cancelled(running: Simulation) -> None:
    send(running, "o-1", wants=order())
    ending_of(running, "o-1", OUT_OF_STOCK)


def test_order_that_need_not_wait_does_not(running: Simulation) -> None:
    send(running, "o-1", wants=backorder(MUG, TEA, quantity=1))
    ending_of(running, "o-1", SHIPPED)


def test_backorder_expires_and_its_money_is_free_again(running: Simulation) -> None:
    """P37: and a later delivery does not serve it."""
    send(running, "o-1", wants=backorder())
    running.advance(hours=71)
    ending_of(running, "o-1", BACKORDERED)
    running.advance(hours=2)
    ending_of(running, "o-1", BACKORDER_EXPIRED)
    assert ended(running, "o-1") == "cancelled and voided"
    running.send(DELIVERY, key=MUG)
    running.run_until_quiet()
    assert (books(running), level(running)) == ({}, (3, 0))


def test_delivery_at_the_last_moment_leaves_time_to_pay(running: Simulation) -> None:
    """P36: the deadline of the order is later than that of its backorder."""
    send(running, "o-1", wants=backorder(token="tok_slow"))
    running.advance(hours=71, minutes=59)
    running.stop("payments")
    running.send(DELIVERY, key=MUG)
    running.advance(minutes=10)
    running.start("payments")
    running.run_until_quiet()
    ending_of(running, "o-1", SERVED)


def test_order_that_is_not_paid_in_its_extended_time_expires(running: Simulation) -> None:
    send(running, "o-1", wants=backorder())
    running.stop("payments")
    running.send(DELIVERY, key=MUG)
    running.advance(hours=72, minutes=16)
    assert running.content("o-1", "OrderCancelled")["reason"] == "expired"
    assert level(running) == (3, 0)


def test_order_is_cancelled_while_it_waits(running: Simulation) -> None:
    send(running, "o-1", "o-2", wants=backorder())
    running.send(CANCEL, key="o-1")
    running.run_until_quiet()
    ending_of(running, "o-1", BACKORDER_CANCELLED)
    running.send(DELIVERY, key=MUG)
    running.run_until_quiet()
    ending_of(running, "o-2", SERVED)
    running.advance(days=4)
    ending_of(running, "o-1", BACKORDER_CANCELLED)


def test_payment_is_refused_while_the_order_waits(running: Simulation) -> None:
    send(running, "o-1", wants=backorder(token="tok_poor"))
    send(running, "o-2", wants=backorder())
    assert running.content("o-1", "OrderCancelled")["reason"] == "payment_failed"
    running.send(DELIVERY, key=MUG)
    running.run_until_quiet()
    ending_of(running, "o-2", SERVED)


def test_oldest_order_is_served_first_and_a_newcomer_does_not_overtake_it(running: Simulation) -> None:
    """P35, F23: by a delivery, and by units that were found."""
    send(running, "o-1", "o-2", wants=backorder())
    send(running, "o-new", wants=order(quantity=1))
    ending_of(running, "o-new", OUT_OF_STOCK)
    running.send(DELIVERY, key=MUG)
    running.run_until_quiet()
    ending_of(running, "o-1", SERVED)
    ending_of(running, "o-2", BACKORDERED)
    running.send(AdjustStock(delta=1, reason="found behind the shelf"), key=MUG)
    running.run_until_quiet()
    ending_of(running, "o-2", SERVED)


@pytest.mark.parametrize("first", [MUG, TEA])
def test_two_orders_for_two_skus_are_served_whichever_comes_first(running: Simulation, first: Sku) -> None:
    send(running, "o-1", wants=backorder(MUG, TEA, quantity=2))
    send(running, "o-2", wants=backorder(TEA, MUG, quantity=2))
    second = TEA if first == MUG else MUG
    for number, sku in enumerate((first, first, second)):
        running.send(ReplenishStock(quantity=2, delivery_id=f"d-{number}"), key=sku)
        running.run_until_quiet()
    ending_of(running, "o-1", SERVED)
    ending_of(running, "o-2", BACKORDERED)
    running.send(ReplenishStock(quantity=2, delivery_id="d-last"), key=second)
    running.run_until_quiet()
    ending_of(running, "o-2", SERVED)


@pytest.mark.parametrize("seed", range(6))
def test_delivery_races_the_expiry_and_every_unit_has_one_owner(seed: int) -> None:
    with simulation(seed=seed, partitions=2) as running:
        running.send(RegisterStockItem(name="A mug", unit_price=PRICE), key=MUG)
        running.run_until_quiet()
        keys = [f"o-{number}" for number in range(6)]
        for key in keys:
            running.send(backorder(quantity=1), key=key)
        running.run_until_quiet()
        running.advance(hours=71, minutes=59, seconds=59)
        running.send(ReplenishStock(quantity=3, delivery_id="d-2"), key=MUG)
        running.advance(minutes=1)
        endings = [ending_of(running, key, SERVED, BACKORDER_EXPIRED, in_order=False) for key in keys]
        served = endings.count(SERVED)
        assert served <= 3
        assert level(running) == (3 - served, 0)


def test_order_is_served_though_another_process_owns_its_partition() -> None:
    """The process that counts a delivery decides about orders of every partition."""
    with simulation(seed=3, partitions=2) as running:
        running.stop("inventory")
        running.start("inventory", partitions=[0])
        running.start("inventory", partitions=[1])
        running.run_until_quiet()
        fill_shelves(running, MUG, 1)
        keys = [f"o-{number}" for number in range(4)]
        assert {partition_of(key, 2) for key in keys} == {0, 1}
        send(running, *keys, wants=backorder())
        running.send(ReplenishStock(quantity=7, delivery_id="d-2"), key=MUG)
        running.run_until_quiet()
        for key in keys:
            ending_of(running, key, SERVED)
