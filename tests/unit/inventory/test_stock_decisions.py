"""What inventory decides about one SKU: registered once, counted once per delivery, never below what is promised."""

from typing import Any

import pytest
from msgspec.structs import replace

from contexts.inventory.commands import ON_HAND_AT_MOST, AdjustStock, RegisterStockItem, ReplenishStock
from contexts.inventory.events import (
    StockAdjusted,
    StockEvent,
    StockItemRegistered,
    StockLevelChanged,
    StockReplenished,
)
from contexts.inventory.stock import IDS_REMEMBERED, StockCommand, StockItem, decide, evolve
from shared.context import Detail, Rejected
from shared.kernel import Money, Sku

MUG = Sku("mug")
PRICE = Money(amount_minor=1250)

REGISTER = RegisterStockItem(sku=MUG, name="Mug", unit_price=PRICE)
REPLENISH = ReplenishStock(sku=MUG, quantity=10, delivery_id="d-1")
BREAK_ONE = AdjustStock(sku=MUG, delta=-1, reason="broken", adjustment_id="a-1")

REGISTERED = StockItemRegistered(sku=MUG, name="Mug", unit_price=PRICE)
REPLENISHED = StockReplenished(sku=MUG, quantity=10, delivery_id="d-1")
ONE_BROKEN = StockAdjusted(sku=MUG, delta=-1, reason="broken", adjustment_id="a-1")


def level(on_hand: int, reserved: int = 0) -> StockLevelChanged:
    return StockLevelChanged(sku=MUG, on_hand=on_hand, reserved=reserved, available=on_hand - reserved)


def after(*events: StockEvent) -> StockItem:
    item = StockItem()
    for event in events:
        item = evolve(item, event)
    return item


def refusal(command: StockCommand, *events: StockEvent) -> Rejected:
    (refused,) = decide(command, after(*events))
    assert isinstance(refused, Rejected)
    return refused


HISTORIES: dict[str, tuple[StockEvent, ...]] = {
    "unknown": (),
    "registered": (REGISTERED,),
    "replenished": (REPLENISHED, level(10)),
    "adjusted": (REGISTERED, REPLENISHED, level(10), ONE_BROKEN, level(9)),
    "partly_reserved": (REPLENISHED, level(10), level(10, 9)),
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("command", [REGISTER, REPLENISH, BREAK_ONE], ids=lambda command: type(command).__name__)
def test_asking_twice_gives_the_answer_once(history: str, command: StockCommand) -> None:
    events = HISTORIES[history]
    answer = [event for event in decide(command, after(*events)) if not isinstance(event, Rejected)]
    again = decide(command, after(*events, *answer))
    assert again == () if answer else all(isinstance(event, Rejected) for event in again)


def test_article_is_registered() -> None:
    assert decide(REGISTER, after()) == (REGISTERED,)
    assert decide(REGISTER, after(REGISTERED)) == ()


@pytest.mark.parametrize("other", [{"name": "Cup"}, {"unit_price": Money(amount_minor=1)}], ids=["name", "unit_price"])
def test_article_is_not_registered_differently(other: dict[str, Any]) -> None:
    assert refusal(replace(REGISTER, **other), REGISTERED).reason == "registered_otherwise"


def test_delivery_is_counted_in() -> None:
    assert decide(REPLENISH, after(REGISTERED)) == (REPLENISHED, level(10))
    next_delivery = replace(REPLENISH, delivery_id="d-2", quantity=5)
    answer = decide(next_delivery, after(REPLENISHED, level(10), level(10, 4)))
    assert answer == (StockReplenished(sku=MUG, quantity=5, delivery_id="d-2"), level(15, 4))


def test_delivery_may_come_before_its_article_is_registered() -> None:
    assert decide(REPLENISH, after()) == (REPLENISHED, level(10))
    assert decide(REGISTER, after(REPLENISHED, level(10))) == (REGISTERED,)


def test_delivery_under_a_known_id_is_not_counted_again() -> None:
    assert decide(REPLENISH, after(REPLENISHED, level(10), level(3))) == ()


def test_other_quantity_under_a_known_id_is_refused() -> None:
    refused = refusal(replace(REPLENISH, quantity=11), REPLENISHED, level(10))
    problem = Detail(path="$.delivery_id", message="it was counted before, as 10")
    assert refused == Rejected(reason="id_known_otherwise", details=(problem,))


def test_last_hundred_deliveries_are_remembered() -> None:
    later = [StockReplenished(sku=MUG, quantity=1, delivery_id=f"later-{n}") for n in range(IDS_REMEMBERED)]
    assert decide(REPLENISH, after(REPLENISHED, *later[:-1])) == ()
    assert decide(REPLENISH, after(REPLENISHED, *later)) == (REPLENISHED, level(10))


def test_shelf_has_a_bound() -> None:
    full = level(ON_HAND_AT_MOST - 10)
    assert decide(REPLENISH, after(full)) == (REPLENISHED, level(ON_HAND_AT_MOST))
    assert refusal(REPLENISH, level(ON_HAND_AT_MOST - 9)).reason == "too_many_units"


def test_count_is_corrected() -> None:
    assert decide(BREAK_ONE, after(level(10, 9))) == (ONE_BROKEN, level(9, 9))


def test_count_is_corrected_once_per_id() -> None:
    history = (REPLENISHED, level(10), ONE_BROKEN, level(9))
    assert decide(BREAK_ONE, after(*history)) == ()
    assert refusal(replace(BREAK_ONE, delta=-2), *history).reason == "id_known_otherwise"


def test_correction_without_an_id_counts_each_time() -> None:
    found = AdjustStock(sku=MUG, delta=2, reason="found behind the shelf")
    two_found = StockAdjusted(sku=MUG, delta=2, reason="found behind the shelf")
    assert decide(found, after(level(10))) == (two_found, level(12))
    assert decide(found, after(level(10), two_found, level(12))) == (two_found, level(14))


def test_count_never_falls_below_what_is_reserved() -> None:
    refused = refusal(BREAK_ONE, level(10, 10))
    problem = Detail(path="$.delta", message="10 are on hand and 10 of them reserved")
    assert refused == Rejected(reason="not_enough_stock", details=(problem,))


def test_count_never_falls_below_zero() -> None:
    assert refusal(BREAK_ONE).reason == "not_enough_stock"
    assert refusal(replace(BREAK_ONE, delta=-11), level(10)).reason == "not_enough_stock"
