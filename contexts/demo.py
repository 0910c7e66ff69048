"""Ten orders, each with the end it must have: the demo of the shop, which `chorus demo` plays.

The demo sends commands as a `nats` user would type them: bare JSON without a header. It stops payments for the order
that has to expire, and interferes in no other way.
"""

import json
from collections.abc import Mapping
from typing import Any

from shared.simulation.demo import Demo, Play, Scene, Stage

STOCK = {"apple": 100, "pear": 1, "plum": 0}
ADDRESS: Mapping[str, Any] = {"street": "Hauptstr. 1", "city": "Bern", "country": "CH", "postal_code": "3000"}
PRICE: Mapping[str, Any] = {"amount_minor": 250, "currency": "EUR"}


async def fill_shelves(stage: Stage) -> None:
    """Register the articles and count the first delivery of each."""
    for sku, quantity in STOCK.items():
        await stage.send("inventory", "RegisterStockItem", sku, name=sku.title(), unit_price=PRICE)
        if quantity:
            await stage.send("inventory", "ReplenishStock", sku, quantity=quantity, delivery_id=f"first-{sku}")
    for sku, quantity in STOCK.items():
        await stage.watched.until(sku, "PriceListed")
        if quantity:
            await stage.watched.until(sku, "StockReplenished")
            await stage.watched.until(sku, "StockNoted")


async def place(
    stage: Stage, order: Scene, *, token: str, sku: str = "apple", quantity: int = 2, allow_backorder: bool = False
) -> None:
    """Place the order of a scene."""
    await stage.send(
        "ordering",
        "PlaceOrder",
        order.key,
        customer_id="c-1",
        email="ann@example.com",
        lines=[{"sku": sku, "quantity": quantity, "unit_price": PRICE}],
        address=ADDRESS,
        method_token=token,
        allow_backorder=allow_backorder,
    )


async def check_out(stage: Stage, order: Scene) -> None:
    """The customer fills a basket and checks it out once the address and the payment details are accepted."""
    lines = [{"sku": "apple", "quantity": 2}]
    await stage.send("ordering", "AddItemsToBasket", order.key, customer_id="c-1", lines=lines)
    await stage.send("ordering", "SubmitAddress", order.key, address=ADDRESS)
    await stage.send("ordering", "SubmitPaymentDetails", order.key, email="ann@example.com", method_token="tok_ok")
    for answered in ("BasketUpdated", "AddressAnswerRecorded", "PaymentAnswerRecorded"):
        await stage.watched.until(order.key, answered)
    await stage.send("ordering", "CheckOutBasket", order.key)


async def ship_and_deliver(stage: Stage, order: Scene) -> None:
    """Everything goes well."""
    await place(stage, order, token="tok_ok")
    await stage.watched.until(order.key, "OrderShipped")
    shipped = json.loads(stage.watched.find(order.key, "OrderShipped").body)
    await stage.send("shipping", "ReportDelivered", order.key, tracking_no=shipped["tracking_no"])


async def wait_for_stock(stage: Stage, order: Scene) -> None:
    """The customer wants an article that is not there, and waits for the delivery."""
    await place(stage, order, token="tok_ok", sku="plum", allow_backorder=True)
    await stage.watched.until(order.key, "InventoryBackordered")
    await stage.send("inventory", "ReplenishStock", "plum", quantity=2, delivery_id="first-plum")


async def send_back(stage: Stage, order: Scene) -> None:
    """The customer sends one of two apples back after the delivery."""
    await ship_and_deliver(stage, order)
    await stage.watched.until(order.key, "DeliveryRecorded")
    lines = [{"sku": "apple", "quantity": 1}]
    await stage.send("ordering", "RequestReturn", order.key, return_id="r-1", lines=lines, reason="too sour")
    await stage.watched.until(order.key, "ReturnExpected")
    await stage.send("shipping", "ReportReturnReceived", order.key, return_id="r-1", lines=lines)


def just_order(**wanted: Any) -> Play:
    """The customer orders and does nothing more."""

    async def play(stage: Stage, order: Scene) -> None:
        await place(stage, order, **wanted)

    return play


def cancel_after(event: str, *, token: str) -> Play:
    """The customer has second thoughts once `event` was published."""

    async def play(stage: Stage, order: Scene) -> None:
        await place(stage, order, token=token)
        await stage.watched.until(order.key, event)
        await stage.send("ordering", "CancelOrder", order.key, reason="customer")

    return play


async def expire(stage: Stage, order: Scene) -> None:
    """Payments is away past the deadline, and finds out when it is back."""
    async with stage.away("payments"):
        await place(stage, order, token="tok_ok")
        await stage.watched.until(order.key, "OrderCancelled")


TOGETHER = (
    Scene(
        key="o-delivered",
        title="shipped and delivered",
        play=ship_and_deliver,
        must=(
            "OrderPlaced", "InventoryReserved", "PaymentAuthorized", "PaymentSucceeded", "OrderConfirmed",
            "DeliveryScheduled", "OrderShipped", "StockCommitted", "OrderDelivered",
        ),
        never=("OrderCancelled", "PaymentFailed", "PaymentVoided", "PaymentRefunded", "InventoryReleased"),
    ),
    Scene(
        key="o-basket",
        title="checked out from a basket",
        play=check_out,
        must=(
            "ItemsAddedToBasket", "BasketUpdated", "AddressSubmitted", "AddressValidated", "PaymentDetailsSubmitted",
            "PaymentApproved", "BasketCheckedOut", "OrderPlaced", "PaymentSucceeded", "OrderConfirmed", "OrderShipped",
        ),
        never=("AlertSet", "AddressRejected", "PaymentDeclined", "CommandRejected", "OrderCancelled"),
    ),
    Scene(
        key="o-backordered",
        title="waits for stock, and ships when it comes",
        play=wait_for_stock,
        must=(
            "OrderPlaced", "InventoryBackordered", "OrderDeadlineExtended", "InventoryReserved", "PaymentSucceeded",
            "OrderConfirmed", "OrderShipped",
        ),
        never=("InventoryRejected", "OrderCancelled", "PaymentVoided"),
    ),
    Scene(
        key="o-sent-back",
        title="one of two apples comes back and is refunded",
        play=send_back,
        must=("OrderDelivered", "ReturnRequested", "ReturnReceived", "PaymentRefunded", "ReturnRefunded"),
        never=("OrderCancelled", "ReturnLapsed", "CommandRejected"),
    ),
    Scene(
        key="o-stock-short",
        title="stock short: two pears wanted, one there",
        play=just_order(token="tok_ok", sku="pear"),
        must=("OrderPlaced", "InventoryRejected", "PaymentVoided", "OrderCancelled"),
        never=("InventoryReserved", "PaymentSucceeded", "OrderConfirmed"),
    ),
    Scene(
        key="o-declined",
        title="declined for funds",
        play=just_order(token="tok_poor"),
        must=("OrderPlaced", "InventoryReserved", "PaymentFailed", "InventoryReleased", "OrderCancelled"),
        never=("PaymentAuthorized", "PaymentSucceeded", "OrderConfirmed"),
    ),
    Scene(
        key="o-no-capture",
        title="authorized, and the capture refused",
        play=just_order(token="tok_nocapture"),
        must=(
            "OrderPlaced", "InventoryReserved", "PaymentAuthorized", "PaymentFailed", "PaymentVoided",
            "InventoryReleased", "OrderCancelled",
        ),
        never=("PaymentSucceeded", "OrderConfirmed"),
    ),
    Scene(
        key="o-second-thoughts",
        title="cancelled while pending, the bank still thinking",
        play=cancel_after("InventoryReserved", token="tok_slow"),
        must=("OrderPlaced", "InventoryReserved", "OrderCancelled", "InventoryReleased", "PaymentVoided"),
        never=("PaymentSucceeded", "OrderConfirmed"),
    ),
    Scene(
        key="o-called-back",
        title="cancelled after confirmation, before dispatch",
        play=cancel_after("DeliveryScheduled", token="tok_ok"),
        must=(
            "OrderPlaced", "InventoryReserved", "PaymentSucceeded", "OrderConfirmed", "OrderCancellationRequested",
            "ShipmentCancelled", "OrderCancelled", "PaymentRefunded", "InventoryReleased",
        ),
        never=("OrderShipped", "StockCommitted"),
    ),
)  # fmt: skip

LAST = Scene(
    key="o-expired",
    title="expired, because payments was stopped",
    play=expire,
    must=("OrderPlaced", "InventoryReserved", "OrderCancelled", "InventoryReleased", "PaymentVoided"),
    never=("PaymentSucceeded", "OrderConfirmed"),
)
"""Played when no other order needs payments any more."""

DEMO = Demo(
    settings={"CHORUS_ORDER_DEADLINE": "3s", "CHORUS_DISPATCH_DELAY": "1500ms", "CHORUS_BANK_SLOW": "700ms"},
    prepare=fill_shelves,
    acts=(TOGETHER, (LAST,)),
    own_key="o-mine",
    first_command="chorus send inventory.RegisterStockItem apple name=Apple unit_price.amount_minor=250 --wait",
)
"""The settings are short enough to watch; every other setting is the default one."""
