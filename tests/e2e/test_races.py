"""Samples on real processes of the races that tests/unit/test_races_in_every_order.py explores (F28 to F32)."""

import asyncio
from typing import Any

import pytest

from tests.e2e.shop import ADDRESS, Level, Shop, token_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOTAL = 500
"""Two units at the price of the shop."""


def sku_of(order: str, name: str = "s") -> str:
    """An article that only the orders of this test want."""
    return f"{name}{order[1:]}"


async def deliver(shop: Shop, order: str, *, token: str = "tok_ok") -> None:
    """Have an order of two units delivered."""
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), token=token)
    shipped = await shop.until(order, "OrderShipped")
    await shop.send_quickly("shipping.ReportDelivered", order, {"tracking_no": shipped.content["tracking_no"]})
    await shop.until(order, "DeliveryRecorded")


async def request(shop: Shop, order: str, return_id: str, quantity: int) -> None:
    wanted = {"return_id": return_id, "lines": lines(order, quantity), "reason": "too blue"}
    await shop.send_quickly("ordering.RequestReturn", order, wanted)


async def receive(shop: Shop, order: str, return_id: str, quantity: int) -> None:
    came = {"return_id": return_id, "lines": lines(order, quantity)}
    await shop.send_quickly("shipping.ReportReturnReceived", order, came)


def refunded_minor(shop: Shop, order: str) -> int:
    moved = [one for one in shop.books().moved if one.payment_id == f"pay-{order}" and one.reason == "refund"]
    return sum(one.amount_minor for one in moved)


def lines(order: str, quantity: int) -> list[dict[str, Any]]:
    return [{"sku": sku_of(order), "quantity": quantity}]


@pytest.mark.long
async def test_order_has_the_price_at_its_decision_when_it_changes_during_the_checkout(shop: Shop, order: str) -> None:
    """F28."""
    sku = sku_of(order)
    await shop.stock(sku, 10)
    await shop.until(sku, "StockNoted")
    await shop.send_quickly("ordering.AddItemsToBasket", order, {"customer_id": "c-1", "lines": lines(order, 2)})
    await shop.send_quickly("ordering.SubmitAddress", order, {"address": ADDRESS})
    details = {"email": "ann@example.com", "method_token": token_of(order, "tok_ok")}
    await shop.send_quickly("ordering.SubmitPaymentDetails", order, details)
    for event in ("BasketUpdated", "AddressAnswerRecorded", "PaymentAnswerRecorded"):
        await shop.until(order, event)
    await asyncio.gather(
        shop.send_quickly("ordering.ChangePrice", sku, {"unit_price": {"amount_minor": 300}}),
        shop.send_quickly("ordering.CheckOutBasket", order, {}),
    )
    placed = await shop.until(order, "OrderPlaced")
    await shop.until(sku, "PriceChanged")
    decided = [kind for (kind,) in shop.rows("ordering", DECIDED, f"order-{order}", f"price-{sku}")]
    assert sorted(decided) == ["OrderPlaced", "PriceChanged"]
    assert placed.content["total"]["amount_minor"] == (TOTAL if decided[0] == "OrderPlaced" else 600)


DECIDED = "SELECT type FROM journal WHERE aggregate IN (?, ?) AND type IN ('OrderPlaced', 'PriceChanged') ORDER BY n"


async def test_one_of_two_returns_at_once_has_the_units(shop: Shop, order: str) -> None:
    """F29."""
    await deliver(shop, order)
    await asyncio.gather(request(shop, order, "r-1", 2), request(shop, order, "r-2", 2))
    assert (await shop.until(order, "CommandRejected")).content["reason"] == "too_many"
    expected = await shop.until(order, "ReturnExpected")
    for return_id in ("r-1", "r-2"):
        await receive(shop, order, return_id, 2)
    assert (await shop.until(order, "ReturnRefunded")).content["return_id"] == expected.content["return_id"]
    rejected = await shop.until(order, "CommandRejected", times=2)
    assert rejected.content["reason"] == "not_expected"
    assert shop.ledger(order) == ["capture", "refund"]
    assert refunded_minor(shop, order) == TOTAL


@pytest.mark.long
async def test_parcel_that_comes_after_its_return_lapsed_is_refunded_once(shop: Shop, order: str) -> None:
    """F30."""
    assert await shop.stop("ordering") == 0
    await shop.start("ordering", return_wait="1s")
    await deliver(shop, order)
    await request(shop, order, "r-1", 2)
    await shop.until(order, "ReturnLapsed")
    assert (await shop.until(order, "TicketOpened")).content["case"] == "return-r-1"
    await receive(shop, order, "r-1", 2)
    await receive(shop, order, "r-1", 2)
    assert (await shop.until(order, "TicketResolved")).content["case"] == "return-r-1"
    assert shop.watcher.types(order)["ReturnRefunded"] == 1
    assert shop.ledger(order) == ["capture", "refund"]
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


@pytest.mark.long
async def test_refunds_of_two_returns_that_the_bank_refuses_at_first_never_exceed_the_capture(
    shop: Shop, order: str
) -> None:
    """F31: a later refund waits for the one under way."""
    await deliver(shop, order, token="tok_norefund")
    await asyncio.gather(request(shop, order, "r-1", 1), request(shop, order, "r-2", 1))
    await shop.until(order, "ReturnExpected", times=2)
    await asyncio.gather(receive(shop, order, "r-1", 1), receive(shop, order, "r-2", 1))
    await shop.until(order, "RefundFailed")
    await shop.send("payments.RetryRefund", order, {})
    await shop.until(order, "ReturnRefunded", times=2)
    assert shop.ledger(order) == ["capture", "refund", "refund"]
    assert refunded_minor(shop, order) == TOTAL


async def test_two_orders_that_wait_for_two_skus_are_both_served(shop: Shop, order: str) -> None:
    """F32: each order names the SKUs in another sequence, and the younger one's first SKU comes first."""
    skus = (sku_of(order, "s"), sku_of(order, "t"))
    for sku in skus:
        await shop.stock(sku, 1)
    orders = (f"{order}-1", f"{order}-2")
    for one, named in zip(orders, (skus, skus[::-1]), strict=True):
        await place_both(shop, one, named)
        await shop.until(one, "InventoryBackordered")
    for number, sku in enumerate((skus[1], skus[0], skus[0], skus[1])):
        await shop.send_quickly("inventory.ReplenishStock", sku, {"quantity": 2, "delivery_id": f"d-{number}"})
    for one in orders:
        await shop.until(one, "OrderShipped")
        await shop.until(one, "StockCommitted")
    served = [fact.key for fact in shop.watcher.facts if fact.type == "InventoryReserved" and fact.key in orders]
    assert sorted(served) == sorted(orders)
    assert [await shop.level(sku) for sku in skus] == [Level(on_hand=1, reserved=0)] * 2


async def place_both(shop: Shop, order: str, skus: tuple[str, ...]) -> None:
    body = {
        "customer_id": "c-1",
        "email": "ann@example.com",
        "lines": [{"sku": sku, "quantity": 2} for sku in skus],
        "address": ADDRESS,
        "method_token": token_of(order, "tok_ok"),
        "allow_backorder": True,
    }
    await shop.send_quickly("ordering.PlaceOrder", order, body)
