"""One order on real processes, from the `nats` command to its end; a test is named by how the saga ends."""

import asyncio

import pytest

from tests.e2e.ended import Ended
from tests.e2e.shop import NATS_CLI, Level, Shop
from tests.ledger import problems_of
from tests.sagas import (
    BACKORDERED,
    CALLED_BACK,
    CAPTURE_REFUSED,
    CONFIRMED,
    CONTEXTS,
    DELIVERED,
    JUST_TOO_LATE,
    LOST,
    OUT_OF_STOCK,
    PAYMENT_REFUSED,
    PLACED_TWICE,
    REFUSED_BY_CARRIER,
    RETURNED,
    RETURNED_AND_REFUNDED_LATE,
    SENT_BACK,
    SERVED,
    SHIPPED,
    TOO_LATE,
    Ending,
    refunded,
    voided,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")


def sku_of(order: str) -> str:
    """An article that only this order wants."""
    return f"s{order[1:]}"


async def cancel(shop: Shop, order: str) -> None:
    await shop.send("ordering.CancelOrder", order, {"reason": "found it cheaper"})


async def report(shop: Shop, command: str, order: str) -> None:
    """Report as the carrier, with the tracking number of the parcel."""
    shipped = await shop.until(order, "OrderShipped")
    await shop.send(command, order, {"tracking_no": shipped.content["tracking_no"]})


async def test_shipped(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), quantity=3)
    await ended.check(order, SHIPPED)
    assert await shop.level(sku_of(order)) == Level(on_hand=7, reserved=0)


async def test_delivered(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await report(shop, "shipping.ReportDelivered", order)
    await ended.check(order, DELIVERED)


async def test_sent_back_after_its_delivery(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await report(shop, "shipping.ReportDelivered", order)
    await shop.until(order, "DeliveryRecorded")
    lines = [{"sku": sku_of(order), "quantity": 2}]
    await shop.send("ordering.RequestReturn", order, {"return_id": "r-1", "lines": lines, "reason": "too blue"})
    await shop.until(order, "ReturnExpected")
    await shop.send("shipping.ReportReturnReceived", order, {"return_id": "r-1", "lines": lines})
    await ended.check(order, SENT_BACK)
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_cancelled_because_stock_is_short(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 1)
    await shop.place(order, sku_of(order), quantity=2)
    await ended.check(order, OUT_OF_STOCK)
    assert await shop.level(sku_of(order)) == Level(on_hand=1, reserved=0)


async def test_shipped_after_two_orders_have_waited_for_stock(shop: Shop, ended: Ended, order: str) -> None:
    """The younger order waits for the next delivery, whichever processes own the keys of the orders and the SKU."""
    orders = [f"{order}-{number}" for number in range(4)]
    await shop.stock(sku_of(order), 1)
    for order_id in orders:
        await shop.place(order_id, sku_of(order), quantity=2, allow_backorder=True)
        await ended.check(order_id, BACKORDERED, holds_money=True)
    for number, order_id in enumerate(orders):
        delivery = {"quantity": 2, "delivery_id": f"d-{number}"}
        await shop.send("inventory.ReplenishStock", sku_of(order), delivery)
        await ended.check(order_id, SERVED)
    assert await shop.level(sku_of(order)) == Level(on_hand=1, reserved=0)


@pytest.mark.parametrize("token", ["tok_poor", "tok_declined"])
async def test_cancelled_because_the_authorization_is_refused(shop: Shop, ended: Ended, order: str, token: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), token=token)
    await ended.check(order, PAYMENT_REFUSED, token=token)
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_cancelled_because_the_capture_is_refused(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), token="tok_nocapture")
    await ended.check(order, CAPTURE_REFUSED, token="tok_nocapture")
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_cancelled_by_the_customer_while_the_bank_is_asked(shop: Shop, ended: Ended, order: str) -> None:
    """The bank is away until payments has heard of the cancellation, however long the command takes."""
    await shop.stock(sku_of(order), 10)
    await shop.kill("bank")
    await shop.place(order, sku_of(order))
    await shop.until(order, "InventoryReserved")
    await shop.until(order, "AuthorizationRequested")
    await cancel(shop, order)
    await shop.until(order, "VoidRequested")
    await shop.start("bank")
    await ended.check(order, voided("customer"))
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_cancelled_by_the_customer_with_a_refund_or_confirmed_and_then_too_late(
    shop: Shop, ended: Ended, order: str
) -> None:
    """The cancellation races the payment and the dispatch, and one context at a time decides."""
    orders = [f"{order}-{number}" for number in range(4)]
    await shop.stock(sku_of(order), 100)

    async def race(order_id: str, event: str) -> Ending:
        await shop.place(order_id, sku_of(order), quickly=True)
        await shop.until(order_id, event)
        await shop.send_quickly("ordering.CancelOrder", order_id, {"reason": "found it cheaper"})
        return await ended.check(order_id, voided("customer"), refunded("customer"), CALLED_BACK, JUST_TOO_LATE)

    events = ("PaymentAuthorized", "CaptureRequested", "PaymentSucceeded", "OrderConfirmed")
    ends = await asyncio.gather(*map(race, orders, events))
    shipped = ends.count(JUST_TOO_LATE)
    assert await shop.level(sku_of(order)) == Level(on_hand=100 - 2 * shipped, reserved=0)


async def test_called_back_before_the_dispatch(hasty_shop: Shop, ended_hastily: Ended, order: str) -> None:
    shop = hasty_shop
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await shop.until(order, "DeliveryScheduled")
    await cancel(shop, order)
    await ended_hastily.check(order, CALLED_BACK)
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_shipped_because_the_cancellation_comes_too_late(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await shop.until(order, "ShipmentRecorded")
    await cancel(shop, order)
    await ended.check(order, TOO_LATE)
    assert (await shop.until(order, "OrderCancellationRejected")).content["state"] == "SHIPPED"


async def test_cancelled_because_the_carrier_refuses(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), postal_code="0000")
    await ended.check(order, REFUSED_BY_CARRIER)
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_cancelled_because_the_parcel_is_lost(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await report(shop, "shipping.ReportLost", order)
    await ended.check(order, LOST)
    assert await shop.level(sku_of(order)) == Level(on_hand=8, reserved=0)


async def test_lost_parcel_has_a_ticket_that_the_refund_closes(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await report(shop, "shipping.ReportLost", order)
    await shop.until(order, "TicketResolved")
    await shop.until(order, "OperatorTold")
    await shop.send("support.RateSupport", order, {"score": 5})
    await shop.until(order, "SupportRated")
    await ended.check(order, LOST)
    (mail,) = (shop.data_dir("support") / "mail").glob(f"ticket-{order}-*.eml")
    assert mail.name == f"ticket-{order}-parcel_lost-1.eml"


@pytest.mark.long  # tests/unit/support/test_tickets_in_memory.py does so in every run.
async def test_refund_that_the_merchant_cannot_pay_has_a_ticket_until_it_is_given(shop: Shop, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await shop.until(order, "OrderShipped")
    everything = {"amount": {"amount_minor": shop.books().balances["merchant", "EUR"][0]}, "reference": order}
    await shop.send("bank.Withdraw", "merchant", everything)
    await shop.until("merchant", "Withdrawn")
    await report(shop, "shipping.ReportReturned", order)
    opened = await shop.until(order, "TicketOpened")
    assert (opened.content["case"], opened.content["occurrence"]) == ("refund", 3)
    assert shop.watcher.types(order)["PaymentRefunded"] == 0
    await shop.send("bank.Deposit", "merchant", everything | {"reference": f"{order}-back"})
    await shop.until(order, "PaymentRefunded")
    assert (await shop.until(order, "TicketResolved")).content["case"] == "refund"
    await shop.until(order, "OperatorTold")
    assert shop.ledger(order) == ["capture", "refund"]


async def test_cancelled_because_the_parcel_comes_back(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await report(shop, "shipping.ReportReturned", order)
    await ended.check(order, RETURNED)
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_expired_while_payments_is_down(hasty_shop: Shop, ended_hastily: Ended, order: str) -> None:
    shop = hasty_shop
    await shop.stock(sku_of(order), 10)
    await shop.kill("payments")
    await shop.place(order, sku_of(order))
    cancelled = await shop.until(order, "OrderCancelled")
    assert cancelled.content["reason"] == "expired"
    await shop.start("payments")
    await ended_hastily.check(order, voided("expired"))
    assert await shop.level(sku_of(order)) == Level(on_hand=10, reserved=0)


async def test_confirmed_or_expired_when_the_payment_races_the_deadline(
    hasty_shop: Shop, ended_hastily: Ended, order: str
) -> None:
    """Two answers of the slow bank take as long as the deadline."""
    shop = hasty_shop
    await shop.stock(sku_of(order), 100)

    async def race(order_id: str) -> Ending:
        await shop.place(order_id, sku_of(order), token="tok_slow", quickly=True)
        ends = CONFIRMED, voided("expired"), refunded("expired")
        return await ended_hastily.check(order_id, *ends, token="tok_slow")

    ends = await asyncio.gather(*(race(f"{order}-{number}") for number in range(4)))
    assert await shop.level(sku_of(order)) == Level(on_hand=100, reserved=2 * ends.count(CONFIRMED))


async def test_shipped_and_charged_once_though_the_bank_loses_its_answers(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), token="tok_lost")
    await ended.check(order, SHIPPED, token="tok_lost")


async def test_refunded_though_the_bank_refuses_at_first(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order), token="tok_norefund")
    await report(shop, "shipping.ReportReturned", order)
    await ended.check(order, RETURNED_AND_REFUNDED_LATE, token="tok_norefund")


async def test_shipped_once_though_the_command_comes_again(shop: Shop, ended: Ended, order: str) -> None:
    """F17: under the same id, and without an id."""
    await shop.stock(sku_of(order), 10)
    for message_id in (f"place-{order}", f"place-{order}", None):
        await shop.place(order, sku_of(order), message_id=message_id)
    await ended.check(order, SHIPPED)
    await shop.place(order, sku_of(order))
    await report(shop, "shipping.ReportDelivered", order)
    await ended.check(order, DELIVERED)


async def test_another_order_under_the_same_key_is_rejected(shop: Shop, ended: Ended, order: str) -> None:
    await shop.stock(sku_of(order), 10)
    await shop.place(order, sku_of(order))
    await shop.until(order, "ShipmentRecorded")
    await shop.place(order, sku_of(order), quantity=3)
    rejected = await shop.until(order, "CommandRejected")
    assert rejected.content["reason"] == "order_already_placed"
    await ended.check(order, PLACED_TWICE)


async def test_one_shipped_and_one_out_of_stock_when_two_want_the_last_unit(
    shop: Shop, ended: Ended, order: str
) -> None:
    orders = [f"{order}-{number}" for number in range(6)]
    await shop.stock(sku_of(order), 1)

    async def race(order_id: str) -> Ending:
        await shop.place(order_id, sku_of(order), quantity=1, quickly=True)
        return await ended.check(order_id, SHIPPED, OUT_OF_STOCK)

    ends = await asyncio.gather(*map(race, orders))
    assert ends.count(SHIPPED) == 1
    assert await shop.level(sku_of(order)) == Level(on_hand=0, reserved=0)


@pytest.mark.skipif(NATS_CLI is None, reason="there is no nats command on the PATH; .ci/run builds it")
async def test_nats_command_says_what_was_stored_and_refuses_what_nobody_takes(shop: Shop) -> None:
    subject = "cmd.inventory.AdjustStock.s-told"
    body = '{"delta": 1, "reason": "found behind the shelf"}'
    once = await shop.nats("pub", "-J", subject, body, "-H", "Nats-Msg-Id:told-1")
    again = await shop.nats("pub", "-J", subject, body, "-H", "Nats-Msg-Id:told-1")
    assert (once.code, again.code) == (0, 0)
    assert "Stored in Stream: COMMANDS" in once.output
    assert "Duplicate: true" in again.output
    misspelt = await shop.nats("pub", "-J", "cmd.inventory.AdjustSock.s-told", body)
    assert misspelt.code == 1
    assert "no responders" in misspelt.output


async def test_nothing_was_said_after_the_end_of_any_saga(ended: Ended, ended_hastily: Ended) -> None:
    ended.check_again()
    ended_hastily.check_again()


async def test_no_money_comes_from_nowhere_and_nothing_is_left_to_do(open_shop: Shop, hasty_shop: Shop) -> None:
    for shop in (open_shop, hasty_shop):
        assert list(problems_of(shop.books())) == []
        for context in CONTEXTS:
            assert shop.rows(context, "SELECT event_id FROM effects") == []
            assert shop.rows(context, "SELECT message_id FROM parked") == []
