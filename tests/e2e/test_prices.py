"""Prices on real processes: orders, prices and promotions as the `nats` command sends them (F27)."""

import pytest

from tests.e2e.ended import Ended
from tests.e2e.shop import ADDRESS, PRICE, Shop, token_of
from tests.sagas import SHIPPED

pytestmark = pytest.mark.asyncio(loop_scope="session")

DEARER = {"amount_minor": 500, "currency": "EUR"}


def sku_of(order: str) -> str:
    """An article that only this order wants."""
    return f"p{order[1:]}"


async def place(shop: Shop, order: str, line: dict[str, object], **others: object) -> None:
    body = {
        "customer_id": "c-1",
        "email": "ann@example.com",
        "lines": [line],
        "address": {**ADDRESS, "postal_code": "3000"},
        "method_token": token_of(order, "tok_ok"),
        **others,
    }
    await shop.send("ordering.PlaceOrder", order, body)


async def test_shipped_at_the_price_of_the_shop(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await place(shop, order, {"sku": sku_of(order), "quantity": 2})
    await ended.check(order, SHIPPED)
    placed = await shop.until(order, "OrderPlaced")
    assert placed.content["lines"] == [{"sku": sku_of(order), "quantity": 2, "unit_price": PRICE, "discount": 0}]
    assert placed.content["discount"] == 0


async def test_refused_at_another_price_than_that_of_the_shop(shop: Shop, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await place(shop, order, {"sku": sku_of(order), "quantity": 2, "unit_price": {"amount_minor": 1}})
    rejected = await shop.until(order, "CommandRejected")
    assert rejected.content["reason"] == "price_changed"
    (detail,) = rejected.content["details"]
    assert detail["path"] == "$.lines[0].unit_price"
    assert detail["message"] == f"the price of {sku_of(order)} is 250 minor units of EUR"


async def test_shipped_at_the_former_price_just_after_a_change(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.send("ordering.ChangePrice", sku_of(order), {"unit_price": DEARER})
    changed = await shop.until(sku_of(order), "PriceChanged")
    assert (changed.content["unit_price"], changed.content["previous"]) == (DEARER, PRICE)
    await place(shop, f"{order}-a", {"sku": sku_of(order), "quantity": 1, "unit_price": PRICE})
    await place(shop, f"{order}-b", {"sku": sku_of(order), "quantity": 1})
    await ended.check(f"{order}-a", SHIPPED)
    await ended.check(f"{order}-b", SHIPPED)
    totals = [(await shop.until(f"{order}-{one}", "OrderPlaced")).content["total"] for one in "ab"]
    assert totals == [PRICE, DEARER]


async def test_shipped_with_the_discount_of_a_promotion_until_it_ends(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    code = f"HALF-{order}"
    lasting = {"from": "2020-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z"}
    await shop.send("ordering.AnnouncePromotion", code, {"percent_off": 50, "skus": [sku_of(order)], **lasting})
    await shop.until(code, "PromotionAnnounced")
    await place(shop, f"{order}-a", {"sku": sku_of(order), "quantity": 2}, promotion_code=code)
    await ended.check(f"{order}-a", SHIPPED)
    placed = await shop.until(f"{order}-a", "OrderPlaced")
    assert (placed.content["discount"], placed.content["total"]) == (250, PRICE)
    await shop.send("ordering.EndPromotion", code, {})
    await shop.until(code, "PromotionEnded")
    await place(shop, f"{order}-b", {"sku": sku_of(order), "quantity": 2}, promotion_code=code)
    rejected = await shop.until(f"{order}-b", "CommandRejected")
    assert rejected.content["reason"] == "unknown_promotion"


async def test_refused_for_an_article_that_is_not_registered(shop: Shop, order: str) -> None:
    await place(shop, order, {"sku": sku_of(order), "quantity": 1})
    rejected = await shop.until(order, "CommandRejected")
    assert rejected.content["reason"] == "unknown_sku"
    assert [detail["path"] for detail in rejected.content["details"]] == ["$.lines[0].sku"]
    await shop.send("inventory.ReplenishStock", sku_of(order), {"quantity": 1, "delivery_id": "d-1"})
    assert (await shop.until(sku_of(order), "CommandRejected")).content["reason"] == "not_registered"
