"""Of which events the customer is told, and under which template."""

from collections.abc import Mapping
from itertools import chain
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from contexts.kernel import OrderId
from contexts.notifications.commands import ConfirmReceipt
from contexts.notifications.decider import Notification, decide, evolve
from contexts.notifications.events import NotificationQueued, Template
from contexts.notifications.policies import POLICIES
from contexts.notifications.upstream import (
    AlertCleared,
    AlertSet,
    InventoryBackordered,
    OrderCancellationRejected,
    OrderCancelled,
    OrderConfirmed,
    OrderDelivered,
    OrderPlaced,
    OrderShipped,
    ParcelOverdue,
    PaymentRefunded,
    RefundFailed,
    ReturnRefunded,
    ReturnRequested,
    ShipmentFailed,
    TicketOpened,
    TicketResolved,
)
from shared.context import Policy
from tests.contract.examples import examples

NEWS: Mapping[type[Struct], Template] = MappingProxyType(
    {
        OrderConfirmed: "order_confirmed",
        InventoryBackordered: "order_backordered",
        OrderShipped: "order_shipped",
        OrderDelivered: "order_delivered",
        OrderCancelled: "order_cancelled",
        OrderCancellationRejected: "cancellation_rejected",
        PaymentRefunded: "payment_refunded",
        RefundFailed: "refund_delayed",
        ShipmentFailed: "shipment_failed",
        AlertSet: "stock_short",
        ParcelOverdue: "parcel_overdue",
        ReturnRequested: "return_requested",
        ReturnRefunded: "return_refunded",
        TicketOpened: "ticket_opened",
        TicketResolved: "ticket_resolved",
    }
)
RECEIPT = ConfirmReceipt(order_id=OrderId("o-42"), email="ada@shop.example", subject="Received", text="Thank you.")


def test_every_reaction_tells_news_but_those_to_an_order_and_to_the_end_of_an_alert() -> None:
    assert {policy.event for policy in POLICIES} == {*NEWS, OrderPlaced, AlertCleared}


@pytest.mark.parametrize("policy", [one for one in POLICIES if one.event in NEWS], ids=lambda one: one.event.__name__)
def test_customer_is_told_once(policy: Policy) -> None:
    """P40: each of these events queues one letter, also when it comes again with other contents."""
    (notification, queued), letters = written(Notification(), RECEIPT), list[NotificationQueued]()
    for news in chain.from_iterable(policy.whenever(event) for event in heard(policy.event)):
        notification, queued = written(notification, news)
        letters += queued
    assert [letter.template for letter in letters] == [NEWS[policy.event]]


def heard(event: type[Struct]) -> list[Struct]:
    """Every example of the event, twice."""
    return [msgspec.convert(content, event) for content in examples(event) * 2]


def written(notification: Notification, command: Any) -> tuple[Notification, list[NotificationQueued]]:
    """The state after a command, and the letters that it queued."""
    events = decide(command, notification)
    for event in events:
        notification = evolve(notification, event)
    return notification, [event for event in events if isinstance(event, NotificationQueued)]
