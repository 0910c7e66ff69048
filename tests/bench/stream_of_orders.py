"""Fills EVENTS with many orders: those of one simulated order, repeated under other keys, so many of them at once.

`Orders` gives the messages in the order in which they are published. Each order has the events of every context, as the
shop publishes them; those about the article count their versions up.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from contexts.inventory.commands import RegisterStockItem, ReplenishStock
from contexts.kernel import Address, CustomerId, MethodToken, Money, Sku
from contexts.ordering.commands import OrderLine, PlaceOrder
from shared.ports.broker import Outgoing
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import MSG_ID

SKU = "mug"
KEY = "o-000"
CUSTOMER = "c-000"
CUSTOMERS = 1_000
SKUS = 50
AT_WORK = ("ordering", "inventory", "payments", "shipping", "notifications", "bank")
AT_ONCE = 50
"""Orders under way side by side, so that the events of one are spread over the stream."""

_VERSION = re.compile(r"@([0-9]+)$")


class _Event(NamedTuple):
    """One event of the simulated order."""

    subject: str
    headers: dict[str, str]
    body: str


class Orders:
    """The events of the orders `0` to `orders - 1`."""

    def __init__(self) -> None:
        with simulation(seed=1, at_work=AT_WORK) as shop:
            _place(shop)
            self._events = [*_events(shop)]

    @property
    def per_order(self) -> int:
        """How many events an order has."""
        return len(self._events)

    def messages(self, events: int) -> Iterator[Outgoing]:
        """At least so many messages, of whole rounds of orders."""
        given = 0
        for first in range(0, events, AT_ONCE):
            for event in self._events:
                for number in range(first, first + AT_ONCE):
                    yield self._of(event, number)
                    given += 1
            if given >= events:
                return

    def _of(self, event: _Event, number: int) -> Outgoing:
        key, customer, sku = f"o-{number}", f"c-{number % CUSTOMERS}", f"sku-{number % SKUS}"

        def changed(text: str) -> str:
            return text.replace(KEY, key).replace(CUSTOMER, customer).replace(SKU, sku)

        headers = {name: changed(value) for name, value in event.headers.items()}
        if KEY not in event.subject:  # Of the article: each order adds versions of it.
            version = _VERSION.search(headers[MSG_ID])
            assert version is not None
            at = int(version[1]) + number // SKUS * self.per_order
            headers[MSG_ID] = f"{headers[MSG_ID][: version.start()]}@{at}"
        return Outgoing(changed(event.subject), headers, changed(event.body).encode())


def _place(shop: Simulation) -> None:
    price = Money(amount_minor=250)
    shop.send(RegisterStockItem(name="A mug", unit_price=price), key=SKU)
    shop.send(ReplenishStock(quantity=1_000_000, delivery_id="d-1"), key=SKU)
    shop.run_until_quiet()
    order = PlaceOrder(
        customer_id=CustomerId(CUSTOMER),
        email="ann@example.com",
        lines=(OrderLine(sku=Sku(SKU), quantity=2, unit_price=price),),
        address=Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code="3000"),
        method_token=MethodToken("tok_ok"),
    )
    shop.send(order, key=KEY)
    shop.run_until_quiet()


def _events(shop: Simulation) -> Sequence[_Event]:
    """The events since the order was placed, with the headers that their contexts gave them."""
    messages = [*shop.server.stream("EVENTS").messages.values()]
    began = next(at for at, one in enumerate(messages) if one.subject.startswith("evt.ordering.OrderPlaced."))
    return [
        _Event(
            ".".join(token for at, token in enumerate(one.subject.split(".")) if at != 3),
            {name: value for name, value in one.headers.items() if not name.startswith("Nats-Batch")},
            one.body.decode(),
        )
        for one in messages[began:]
        if KEY in one.subject or SKU in one.subject  # The others are of the bank's accounts, which have no order.
    ]
