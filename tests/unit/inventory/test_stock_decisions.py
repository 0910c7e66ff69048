"""Inventory registers a SKU once."""

from typing import Any

import pytest
from msgspec.structs import replace

from contexts.inventory.commands import RegisterStockItem
from contexts.inventory.events import (
    StockAdjusted,
    StockEvent,
    StockItemRegistered,
    StockLevelChanged,
    StockReplenished,
)
from contexts.inventory.stock import StockItem, decide, evolve
from contexts.kernel import Money, Sku
from shared.context import Rejected

MUG = Sku("mug")
PRICE = Money(amount_minor=1250)

REGISTER = RegisterStockItem(sku=MUG, name="Mug", unit_price=PRICE)

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


def refusal(command: RegisterStockItem, *events: StockEvent) -> Rejected:
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
def test_asking_twice_gives_the_answer_once(history: str) -> None:
    events = HISTORIES[history]
    answer = [event for event in decide(REGISTER, after(*events)) if not isinstance(event, Rejected)]
    again = decide(REGISTER, after(*events, *answer))
    assert again == () if answer else all(isinstance(event, Rejected) for event in again)


def test_article_is_registered() -> None:
    assert decide(REGISTER, after()) == (REGISTERED,)
    assert decide(REGISTER, after(REGISTERED)) == ()


@pytest.mark.parametrize("other", [{"name": "Cup"}, {"unit_price": Money(amount_minor=1)}], ids=["name", "unit_price"])
def test_article_is_not_registered_differently(other: dict[str, Any]) -> None:
    assert refusal(replace(REGISTER, **other), REGISTERED).reason == "registered_otherwise"
