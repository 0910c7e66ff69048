"""Inventory counts a delivery or a correction once per id, for ever, and never below the promised units."""

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from contexts.inventory import movement
from contexts.inventory.commands import ON_HAND_AT_MOST, AdjustStock, MovementCommand, ReplenishStock, RestockReturn
from contexts.inventory.events import (
    StockAdjusted,
    StockEvent,
    StockItemRegistered,
    StockLevelChanged,
    StockMovementRecorded,
    StockReplenished,
    StockReturned,
)
from contexts.inventory.movement import StockMovement, evolve
from contexts.inventory.stock import StockItem
from contexts.inventory.stock import evolve as evolve_stock
from contexts.kernel import Money, OrderId, ReturnId, Sku
from shared.context import Rejected
from tests.unit.inventory.levels import unnumbered

decide = unnumbered(movement.decide)

MUG = Sku("mug")

REPLENISH = ReplenishStock(sku=MUG, quantity=10, delivery_id="d-1")
BREAK_ONE = AdjustStock(sku=MUG, delta=-1, reason="broken", adjustment_id="a-1")

REPLENISHED = StockReplenished(sku=MUG, quantity=10, delivery_id="d-1")
DELIVERY_RECORDED = StockMovementRecorded(sku=MUG, movement_id="delivery:d-1", quantity=10)
ONE_BROKEN = StockAdjusted(sku=MUG, delta=-1, reason="broken", adjustment_id="a-1")
BROKEN_RECORDED = StockMovementRecorded(sku=MUG, movement_id="adjustment:a-1", quantity=-1)

RESTOCK = RestockReturn(sku=MUG, quantity=2, order_id=OrderId("o-1"), return_id=ReturnId("r-1"))
RETURNED = StockReturned(sku=MUG, quantity=2, order_id=OrderId("o-1"), return_id=ReturnId("r-1"))
RETURN_RECORDED = StockMovementRecorded(sku=MUG, movement_id="return:o-1/r-1", quantity=2)

NEW = StockMovement()


def level(on_hand: int, reserved: int = 0) -> StockLevelChanged:
    return StockLevelChanged(sku=MUG, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


def stock(*events: StockEvent) -> Mapping[str, StockItem]:
    """The stock of a registered article after these events."""
    item = evolve_stock(StockItem(), StockItemRegistered(sku=MUG, name="Mug", unit_price=Money(amount_minor=1)))
    for event in events:
        item = evolve_stock(item, event)
    return {MUG: item}


def refusal(command: MovementCommand, counted: StockMovement, *events: StockEvent) -> Rejected:
    (refused,) = decide(command, counted, stock(*events))
    assert isinstance(refused, Rejected)
    return refused


@pytest.mark.parametrize("command", [REPLENISH, BREAK_ONE, RESTOCK], ids=lambda command: type(command).__name__)
def test_asking_twice_gives_the_answer_once(command: MovementCommand) -> None:
    counted, known = NEW, stock(level(10))
    for event in decide(command, counted, known):
        if isinstance(event, StockMovementRecorded):
            counted = evolve(counted, event)
        elif not isinstance(event, Rejected):
            known = {MUG: evolve_stock(known[MUG], event)}
    assert decide(command, counted, known) == ()


def test_delivery_is_counted_in() -> None:
    assert decide(REPLENISH, NEW, stock(level(10, 4))) == (REPLENISHED, DELIVERY_RECORDED, level(20, 4))


@pytest.mark.parametrize("command", [REPLENISH, BREAK_ONE], ids=lambda command: type(command).__name__)
def test_article_that_is_not_registered_has_no_stock(command: MovementCommand) -> None:
    refused = Rejected.at("not_registered", "$", "there is no mug; send RegisterStockItem first")
    assert decide(command, NEW, {MUG: StockItem()}) == (refused,)
    assert decide(command, NEW, {MUG: evolve_stock(StockItem(), level(10))}) == (refused,)  # Of an older release.


def test_first_delivery_of_an_article_is_counted_in() -> None:
    assert decide(REPLENISH, NEW, stock()) == (REPLENISHED, DELIVERY_RECORDED, level(10))


def test_delivery_under_a_known_id_is_not_counted_again() -> None:
    assert decide(REPLENISH, evolve(NEW, DELIVERY_RECORDED), stock(level(10), level(3))) == ()


def test_other_quantity_under_a_known_id_is_refused() -> None:
    refused = refusal(replace(REPLENISH, quantity=11), evolve(NEW, DELIVERY_RECORDED), level(10))
    assert refused == Rejected.at("id_known_otherwise", "$.delivery_id", "it was counted before, as 10")


def test_delivery_and_correction_of_one_id_are_two_movements() -> None:
    assert replace(REPLENISH, delivery_id="x").movement_id != replace(BREAK_ONE, adjustment_id="x").movement_id


def test_shelf_has_a_bound() -> None:
    full = level(ON_HAND_AT_MOST - 10)
    assert decide(REPLENISH, NEW, stock(full)) == (REPLENISHED, DELIVERY_RECORDED, level(ON_HAND_AT_MOST))
    assert refusal(REPLENISH, NEW, level(ON_HAND_AT_MOST - 9)).reason == "too_many_units"


def test_count_is_corrected() -> None:
    assert decide(BREAK_ONE, NEW, stock(level(10, 9))) == (ONE_BROKEN, BROKEN_RECORDED, level(9, 9))


def test_count_is_corrected_once_per_id() -> None:
    known = evolve(NEW, BROKEN_RECORDED)
    assert decide(BREAK_ONE, known, stock(level(9))) == ()
    assert refusal(replace(BREAK_ONE, delta=-2), known, level(9)).reason == "id_known_otherwise"


def test_correction_without_an_id_counts_each_time() -> None:
    found = AdjustStock(sku=MUG, delta=2, reason="found behind the shelf")
    two_found = StockAdjusted(sku=MUG, delta=2, reason="found behind the shelf")
    assert decide(found, NEW, stock(level(10))) == (two_found, level(12))
    assert decide(found, NEW, stock(level(10), two_found, level(12))) == (two_found, level(14))


def test_count_never_falls_below_what_is_reserved() -> None:
    refused = refusal(BREAK_ONE, NEW, level(10, 10))
    assert refused == Rejected.at("not_enough_stock", "$.delta", "10 are on hand and 10 of them reserved")


def test_count_never_falls_below_zero() -> None:
    assert refusal(BREAK_ONE, NEW).reason == "not_enough_stock"
    assert refusal(replace(BREAK_ONE, delta=-11), NEW, level(10)).reason == "not_enough_stock"


def test_return_is_counted_in_once_for_each_order_and_return() -> None:
    """The ids of returns are those of their order, so two orders may have the same one (R26)."""
    assert decide(RESTOCK, NEW, stock(level(3, 1))) == (RETURNED, RETURN_RECORDED, level(5, 1))
    assert decide(RESTOCK, evolve(NEW, RETURN_RECORDED), stock(level(5, 1))) == ()
    assert replace(RESTOCK, order_id=OrderId("o-2")).movement_id != RESTOCK.movement_id


def test_levels_are_numbered_from_1() -> None:
    first = movement.decide(REPLENISH, NEW, stock())[-1]
    assert first == replace(level(10), number=1)
    second = movement.decide(BREAK_ONE, NEW, stock(level(10)))[-1]
    assert second == replace(level(9), number=2)
