"""Seven orders, each with the end it must have; the exit code of `chorus demo` says whether it had.

What is sent is what a `nats` user would type: bare JSON without a header. The only hand that the demo has on the shop
is that payments is away for the order that has to expire.
"""

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import anyio

from shared.config.units import format_duration
from shared.inspect.event_watcher import EventWatcher
from shared.ports.broker import Broker, Outgoing
from shared.wire.messages import command_subject

ORDER_DEADLINE = timedelta(seconds=3)
DISPATCH_DELAY = timedelta(milliseconds=1500)
BANK_SLOW = timedelta(milliseconds=700)
SETTINGS: Mapping[str, str] = {
    "CHORUS_ORDER_DEADLINE": format_duration(ORDER_DEADLINE),
    "CHORUS_DISPATCH_DELAY": format_duration(DISPATCH_DELAY),
    "CHORUS_BANK_SLOW": format_duration(BANK_SLOW),
    "CHORUS_LOG_LEVEL": "warning",
    "CHORUS_LOG_FORMAT": "json",
}
"""Short enough to watch; every other setting is the default one."""

STOCK = {"apple": 100, "pear": 1}
PRICE: Mapping[str, Any] = {"amount_minor": 250, "currency": "EUR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One command as it was sent."""

    subject: str
    body: bytes


Away: TypeAlias = Callable[[str], AbstractAsyncContextManager[None]]
"""Lets a context be away while the block runs."""


class Stage:
    """A running shop as its customers and its staff reach it: through commands and events."""

    def __init__(self, broker: Broker, away: Away, url: str) -> None:
        self.broker = broker
        self.away = away
        self.url = url
        self.watched = EventWatcher()
        self.sent: list[Sent] = []

    async def send(self, context: str, command: str, key: str, **body: Any) -> None:
        """What `nats pub -J` does."""
        sent = Sent(subject=command_subject(context, command, key), body=json.dumps(body).encode())
        await self.broker.publish(Outgoing(sent.subject, {}, sent.body))
        self.sent.append(sent)

    async def fill_shelves(self) -> None:
        """Register the articles and take in what there is of them."""
        for sku, quantity in STOCK.items():
            await self.send("inventory", "RegisterStockItem", sku, name=sku.title(), unit_price=PRICE)
            await self.send("inventory", "ReplenishStock", sku, quantity=quantity, delivery_id=f"first-{sku}")
        for sku in STOCK:
            await self.watched.until(sku, "StockReplenished")

    async def order(self, saga: "Saga", *, token: str, sku: str = "apple", quantity: int = 2) -> None:
        """Place the saga's order."""
        await self.send(
            "ordering",
            "PlaceOrder",
            saga.order,
            customer_id="c-1",
            email="ann@example.com",
            lines=[{"sku": sku, "quantity": quantity, "unit_price": PRICE}],
            address={"street": "Hauptstr. 1", "city": "Bern", "country": "CH", "postal_code": "3000"},
            method_token=token,
        )


Play: TypeAlias = "Callable[[Stage, Saga], Awaitable[None]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """One order: what is done to it, the events that must be said exactly once, and those that must never be."""

    order: str
    title: str
    play: Play
    must: tuple[str, ...]
    never: tuple[str, ...]


async def ship_and_deliver(stage: Stage, saga: Saga) -> None:
    """Everything goes well."""
    await stage.order(saga, token="tok_ok")
    await stage.watched.until(saga.order, "OrderShipped")
    shipped = json.loads(stage.watched.find(saga.order, "OrderShipped").body)
    await stage.send("shipping", "ReportDelivered", saga.order, tracking_no=shipped["tracking_no"])


def just_order(**order: Any) -> Play:
    """The customer orders and does nothing more."""

    async def play(stage: Stage, saga: Saga) -> None:
        await stage.order(saga, **order)

    return play


def cancel_after(event: str, *, token: str) -> Play:
    """The customer has second thoughts once `event` was said."""

    async def play(stage: Stage, saga: Saga) -> None:
        await stage.order(saga, token=token)
        await stage.watched.until(saga.order, event)
        await stage.send("ordering", "CancelOrder", saga.order, reason="customer")

    return play


async def expire(stage: Stage, saga: Saga) -> None:
    """Payments is away past the deadline, and finds out when it is back."""
    async with stage.away("payments"):
        await stage.order(saga, token="tok_ok")
        await stage.watched.until(saga.order, "OrderCancelled")


TOGETHER = (
    Saga(
        order="o-delivered",
        title="shipped and delivered",
        play=ship_and_deliver,
        must=(
            "OrderPlaced", "InventoryReserved", "PaymentAuthorized", "PaymentSucceeded", "OrderConfirmed",
            "DeliveryScheduled", "OrderShipped", "StockCommitted", "OrderDelivered",
        ),
        never=("OrderCancelled", "PaymentFailed", "PaymentVoided", "PaymentRefunded", "InventoryReleased"),
    ),
    Saga(
        order="o-stock-short",
        title="stock short: two pears wanted, one there",
        play=just_order(token="tok_ok", sku="pear"),
        must=("OrderPlaced", "InventoryRejected", "PaymentVoided", "OrderCancelled"),
        never=("InventoryReserved", "PaymentSucceeded", "OrderConfirmed"),
    ),
    Saga(
        order="o-declined",
        title="declined for funds",
        play=just_order(token="tok_poor"),
        must=("OrderPlaced", "InventoryReserved", "PaymentFailed", "InventoryReleased", "OrderCancelled"),
        never=("PaymentAuthorized", "PaymentSucceeded", "OrderConfirmed"),
    ),
    Saga(
        order="o-no-capture",
        title="authorized, and the capture refused",
        play=just_order(token="tok_nocapture"),
        must=(
            "OrderPlaced", "InventoryReserved", "PaymentAuthorized", "PaymentFailed", "PaymentVoided",
            "InventoryReleased", "OrderCancelled",
        ),
        never=("PaymentSucceeded", "OrderConfirmed"),
    ),
    Saga(
        order="o-second-thoughts",
        title="cancelled while pending, the bank still thinking",
        play=cancel_after("InventoryReserved", token="tok_slow"),
        must=("OrderPlaced", "InventoryReserved", "OrderCancelled", "InventoryReleased", "PaymentVoided"),
        never=("PaymentSucceeded", "OrderConfirmed"),
    ),
    Saga(
        order="o-called-back",
        title="cancelled after confirmation, before dispatch",
        play=cancel_after("DeliveryScheduled", token="tok_ok"),
        must=(
            "OrderPlaced", "InventoryReserved", "PaymentSucceeded", "OrderConfirmed", "OrderCancellationRequested",
            "ShipmentCancelled", "OrderCancelled", "PaymentRefunded", "InventoryReleased",
        ),
        never=("OrderShipped", "StockCommitted"),
    ),
)  # fmt: skip

LAST = Saga(
    order="o-expired",
    title="expired, because payments was stopped",
    play=expire,
    must=("OrderPlaced", "InventoryReserved", "OrderCancelled", "InventoryReleased", "PaymentVoided"),
    never=("PaymentSucceeded", "OrderConfirmed"),
)
"""Played when the others no longer need payments."""


ACTS = (TOGETHER, (LAST,))


async def play_all(stage: Stage, tell: Callable[[Saga, list[str]], Awaitable[None]]) -> list[str]:
    """Play every saga to its end; `tell` hears of each in their order, with what went wrong. Returns all that did."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stage.watched.watch, stage.broker)
        await stage.fill_shelves()
        for act in ACTS:
            ended = {saga.order: anyio.Event() for saga in act}
            for saga in act:
                tasks.start_soon(_play, stage, saga, ended[saga.order])
            for saga in act:
                await ended[saga.order].wait()
                await tell(saga, _wrong(stage, saga))
        tasks.cancel_scope.cancel()
    # Asked once more at the end: a late event may be one too many.
    return [f"{saga.order}: {problem}" for act in ACTS for saga in act for problem in _wrong(stage, saga)]


async def _play(stage: Stage, saga: Saga, ended: anyio.Event) -> None:
    with suppress(TimeoutError):  # What is missing then will be said.
        await saga.play(stage, saga)
        await stage.watched.until(saga.order, *saga.must)
    await stage.watched.until_quiet(saga.order)
    ended.set()


def _wrong(stage: Stage, saga: Saga) -> list[str]:
    said = stage.watched.types(saga.order)
    missing = [f"{event} is missing" for event in saga.must if not said[event]]
    doubled = [f"{event} was said {said[event]} times" for event in saga.must if said[event] > 1]
    return [*missing, *doubled, *(f"{event} was said" for event in saga.never if said[event])]
