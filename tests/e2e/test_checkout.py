"""A checkout on real processes, by the `nats` command: from the first item to the parcel, an alert, a refusal."""

from typing import Any

import pytest

from tests.e2e.shop import ADDRESS, PRICE, Shop, token_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


def sku_of(order: str) -> str:
    """An article that only this basket wants."""
    return f"b{order[1:]}"


async def stock(shop: Shop, basket: str, quantity: int) -> None:
    """Put units on the shelf; ordering knows the level when this returns."""
    await shop.stock(sku_of(basket), quantity)
    await shop.until(sku_of(basket), "StockNoted")


async def add(shop: Shop, basket: str, quantity: int) -> None:
    lines = [{"sku": sku_of(basket), "quantity": quantity}]
    await shop.send("ordering.AddItemsToBasket", basket, {"customer_id": "c-1", "lines": lines})


async def submit(shop: Shop, basket: str, *, street: str = "Hauptstr. 1", token: str = "tok_ok") -> None:
    """Submit an address and payment details."""
    await shop.send("ordering.SubmitAddress", basket, {"address": {**ADDRESS, "street": street}})
    details = {"email": "ann@example.com", "method_token": token_of(basket, token)}
    await shop.send("ordering.SubmitPaymentDetails", basket, details)


async def refused(shop: Shop, basket: str) -> dict[str, Any]:
    """Check out, and return the answer that the basket is not ready."""
    await shop.send("ordering.CheckOutBasket", basket, {})
    content = (await shop.until(basket, "CommandRejected")).content
    assert content["reason"] == "basket_not_ready"
    return {detail["path"]: detail["message"] for detail in content["details"]}


async def test_checked_out_and_shipped(shop: Shop, order: str) -> None:
    await stock(shop, order, 10)
    await add(shop, order, 2)
    assert (await shop.until(order, "BasketUpdated")).content["total"]["amount_minor"] == 500
    await submit(shop, order)
    await shop.until(order, "AddressAnswerRecorded")
    await shop.until(order, "PaymentAnswerRecorded")
    await shop.send("ordering.CheckOutBasket", order, {})
    placed = await shop.until(order, "OrderPlaced")
    assert placed.content["lines"] == [{"sku": sku_of(order), "quantity": 2, "unit_price": PRICE, "discount": 0}]
    await shop.until(order, "ShipmentRecorded")
    assert shop.ledger(order) == ["capture"]


async def test_not_ready_until_the_second_attempt_is_accepted(shop: Shop, order: str) -> None:
    """Only the answers to the latest address and payment details count (F22)."""
    await stock(shop, order, 10)
    await add(shop, order, 1)
    await shop.until(order, "BasketUpdated")
    await submit(shop, order, street="Nowhere Lane 7", token="tok_declined")
    await shop.until(order, "AddressAnswerRecorded")
    await shop.until(order, "PaymentAnswerRecorded")
    assert await refused(shop, order) == {
        "$.address": "refused, unknown_street",
        "$.payment": "refused, declined",
    }
    await submit(shop, order)
    await shop.until(order, "AddressAnswerRecorded", times=2)
    await shop.until(order, "PaymentAnswerRecorded", times=2)
    await shop.send("ordering.CheckOutBasket", order, {})
    assert (await shop.until(order, "OrderPlaced")).content["address"]["street"] == "Hauptstr. 1"


async def test_alert_is_cleared_by_a_delivery_and_a_new_price_is_shown(shop: Shop, order: str) -> None:
    """A delivery clears the alert (F23); an open basket shows a changed price (F28), and fewer lines."""
    await stock(shop, order, 1)
    await add(shop, order, 3)
    alert = await shop.until(order, "AlertSet")
    assert (alert.content["requested"], alert.content["available"]) == (3, 1)
    assert "$.alerts." + sku_of(order) in await refused(shop, order)
    await shop.send("inventory.ReplenishStock", sku_of(order), {"quantity": 5, "delivery_id": "second"})
    assert (await shop.until(order, "AlertCleared")).content["available"] == 6
    await shop.send("ordering.ChangePrice", sku_of(order), {"unit_price": {"amount_minor": 300}})
    shown = await shop.until(order, "BasketUpdated", times=2)
    assert shown.content["total"] == {"amount_minor": 900, "currency": "EUR"}
    lines = [{"sku": sku_of(order), "quantity": 1}]
    await shop.send("ordering.RemoveItemsFromBasket", order, {"lines": lines})
    shown = await shop.until(order, "BasketUpdated", times=3)
    assert shown.content["total"] == {"amount_minor": 600, "currency": "EUR"}
