"""A shop that waits for nothing longer than a moment, on real processes, driven by the `nats` command."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import pytest_asyncio

from tests.e2e.ended import Ended
from tests.e2e.shop import Shop, opened
from tests.sagas import BACKORDER_EXPIRED
from tests.waiting import WITHIN_S

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

A_MOMENT = "500ms"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def impatient_shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One that gives up soon, but for refunds: it asks for them again after an hour, or when it is told to."""
    async with opened(
        Shop,
        tmp_path_factory.mktemp("impatient"),
        basket_idle=A_MOMENT,
        backorder_wait=A_MOMENT,
        parcel_silence=A_MOMENT,
        return_wait=A_MOMENT,
        refund_retry_delay="1h",
    ) as shop:
        yield shop


def lines(order: str, quantity: int) -> list[dict[str, Any]]:
    return [{"sku": f"l-{order}", "quantity": quantity}]


async def ship(shop: Shop, order: str, *, token: str = "tok_ok") -> dict[str, Any]:
    """Have an order of two units shipped; what a report of its parcel has to name."""
    await shop.stock(f"l-{order}", 10)
    await shop.place(order, f"l-{order}", token=token)
    shipped = await shop.until(order, "OrderShipped")
    return {"tracking_no": shipped.content["tracking_no"]}


async def close_ticket(shop: Shop, order: str, case: str) -> None:
    """Close the ticket of a case as an operator, once it is open."""
    assert (await shop.until(order, "TicketOpened")).content["case"] == case
    await shop.send("support.ResolveTicket", order, {"case": case, "note": "we have written to her"})
    assert (await shop.until(order, "TicketResolved")).content["note"] == "we have written to her"


def cases(shop: Shop, order: str) -> list[str]:
    """The cases of the tickets about an order; its parcel may have one too, until it is delivered."""
    return [fact.content["case"] for fact in shop.watcher.about(order) if fact.type == "TicketOpened"]


async def test_basket_that_nobody_changes_is_abandoned(impatient_shop: Shop, order: str) -> None:
    shop = impatient_shop
    await shop.stock(f"l-{order}", 10)
    wanted = {"customer_id": "c-1", "lines": lines(order, 2)}
    await shop.send("ordering.AddItemsToBasket", order, wanted)
    await shop.until(order, "BasketAbandoned")
    await shop.send("ordering.AddItemsToBasket", order, wanted)
    assert (await shop.until(order, "CommandRejected")).content["reason"] == "basket_closed"


async def test_order_that_waits_in_vain_for_stock_is_cancelled(impatient_shop: Shop, order: str) -> None:
    shop = impatient_shop
    await shop.stock(f"l-{order}", 1)
    await shop.place(order, f"l-{order}", allow_backorder=True)
    await Ended(shop).check(order, BACKORDER_EXPIRED)
    await shop.until(f"l-{order}", "BackorderDequeued")


async def test_parcel_without_news_has_a_ticket_until_an_operator_closes_it(impatient_shop: Shop, order: str) -> None:
    shop = impatient_shop
    parcel = await ship(shop, order)
    await shop.until(order, "ParcelOverdue")
    await close_ticket(shop, order, "parcel_overdue")
    await shop.send("shipping.ReportDelivered", order, parcel)
    await shop.until(order, "DeliveryRecorded")


async def test_return_that_does_not_come_lapses_and_has_a_ticket(impatient_shop: Shop, order: str) -> None:
    shop = impatient_shop
    parcel = await ship(shop, order)
    await shop.send("shipping.ReportDelivered", order, parcel)
    await shop.until(order, "DeliveryRecorded")
    wanted = {"return_id": "r-1", "lines": lines(order, 1), "reason": "too blue"}
    await shop.send("ordering.RequestReturn", order, wanted)
    await shop.until(order, "ReturnLapsed")
    with anyio.fail_after(WITHIN_S):
        await shop.watcher.until_true(lambda: "return-r-1" in cases(shop, order))
    assert shop.ledger(order) == ["capture"]


async def test_refund_that_is_refused_is_given_when_an_operator_asks_again(impatient_shop: Shop, order: str) -> None:
    """The bank refuses it twice."""
    shop = impatient_shop
    parcel = await ship(shop, order, token="tok_norefund")
    await shop.send("shipping.ReportReturned", order, parcel)
    for times in (1, 2):
        await shop.until(order, "RefundFailed", times=times)
        assert shop.watcher.types(order)["PaymentRefunded"] == 0
        await shop.send("payments.RetryRefund", order, {})
    await shop.until(order, "PaymentRefunded")
    assert shop.watcher.types(order)["RefundFailed"] == 2
    assert shop.ledger(order) == ["capture", "refund"]
