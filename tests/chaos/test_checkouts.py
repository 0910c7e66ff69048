"""Baskets that are filled and checked out while the contexts that answer about them are killed (F19, F22)."""

import asyncio

import pytest

from tests.chaos.stage import Stage
from tests.e2e.shop import ADDRESS, token_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

SKU = "carted"
FAILPOINTS = {"ordering": "after-commit:2", "payments": "after-call:1", "shipping": "before-publish:1"}


async def check_out(stage: Stage, basket: str) -> None:
    """Fill a basket, send an address that is rejected and one that is valid, and have the order shipped."""
    lines = [{"sku": SKU, "quantity": 2}]
    await stage.send_quickly("ordering.AddItemsToBasket", basket, {"customer_id": "c-1", "lines": lines})
    for street in ("Nowhere Lane 7", "Hauptstr. 1"):
        await stage.send_quickly("ordering.SubmitAddress", basket, {"address": {**ADDRESS, "street": street}})
    details = {"email": "ann@example.com", "method_token": token_of(basket, "tok_ok")}
    await stage.send_quickly("ordering.SubmitPaymentDetails", basket, details)
    for answered in ("BasketUpdated", "AddressAnswerRecorded", "PaymentAnswerRecorded"):
        await stage.until(basket, answered)
    await stage.until(basket, "AddressValidated")
    answers = [fact.content for fact in stage.watcher.about(basket) if fact.type == "AddressAnswerRecorded"]
    if answers[-1]["attempt"] == 1:
        await stage.until(basket, "AddressAnswerRecorded", times=2)
    await stage.send_quickly("ordering.CheckOutBasket", basket, {})
    await stage.until(basket, "ShipmentRecorded")
    assert stage.ledger(basket) == ["capture"]


async def test_baskets_are_checked_out_though_the_contexts_die(stage: Stage) -> None:
    await stage.stock(SKU, 100)
    await stage.until(SKU, "StockNoted")
    await stage.kill(*FAILPOINTS)
    async with asyncio.TaskGroup() as tasks:
        for context, failpoint in FAILPOINTS.items():
            await stage.arm(context, failpoint)
            tasks.create_task(start_again(stage, context))
        for number in range(4):
            tasks.create_task(check_out(stage, f"o-cart-{number}"))
    await stage.check_at_rest()


async def start_again(stage: Stage, context: str) -> None:
    """Start a worker again once it has killed itself."""
    await stage.dies(context)
    await stage.start(context)
