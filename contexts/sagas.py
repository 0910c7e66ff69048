"""Declares how an order may end, for watchers. It steers nothing: each context decides for itself.

The checkout ends when the basket becomes an order, or is abandoned. An order has two sagas more. The purchase ends
when the order is confirmed or cancelled; the order itself ends when the parcel has arrived, or when the order is
cancelled and its money is settled. After the delivery the same key may have another: a return ends when it is refunded,
or when its parcel does not come.
"""

from datetime import timedelta

from shared.saga import End, Pause, Saga

CHECKOUT = Saga(
    name="checkout",
    key="order_id",
    first=("ordering.ItemsAddedToBasket",),
    ends=(
        End(name="checked out", events=("ordering.BasketCheckedOut",)),
        End(name="abandoned", events=("ordering.BasketAbandoned",)),
    ),
    slow_after=timedelta(days=7),
    waits_for=("ordering.CheckOutBasket",),
)
"""A customer may take days; ordering ends it CHORUS_BASKET_IDLE after its last change."""

PURCHASE = Saga(
    name="purchase",
    key="order_id",
    first=("ordering.OrderPlaced",),
    ends=(
        End(name="confirmed", events=("ordering.OrderConfirmed",)),
        End(name="cancelled", events=("ordering.OrderCancelled",)),
    ),
    slow_after=timedelta(minutes=20),
    pauses=(
        Pause(
            event="inventory.InventoryBackordered",
            until=("inventory.InventoryReserved", "inventory.InventoryRejected", "inventory.InventoryReleased"),
            ended_by="inventory.ReplenishStock",
            keys="shortages.sku",
        ),
    ),
    beyond=(
        "shipping.DeliveryScheduled",
        "shipping.DispatchRequested",
        "ordering.OrderCancellationRequested",
        "payments.RefundRequested",
    ),
)
"""Ordering ends it by its deadline, 15 minutes unless CHORUS_ORDER_DEADLINE says otherwise; later on backorder."""

ORDER = Saga(
    name="order",
    key="order_id",
    first=("ordering.OrderPlaced",),
    ends=(
        End(name="delivered", events=("ordering.DeliveryRecorded",)),
        End(name="cancelled and refunded", events=("ordering.OrderCancelled", "payments.PaymentRefunded")),
        End(name="cancelled and voided", events=("ordering.OrderCancelled", "payments.PaymentVoided")),
        End(name="cancelled, the payment refused", events=("ordering.OrderCancelled", "payments.PaymentFailed")),
    ),
    slow_after=timedelta(days=14),
    pivot="payments.CaptureRequested",
    waits_for=("shipping.ReportDelivered",),
    beyond=("ordering.ReturnRefunded",),
)
"""A parcel travels for days, and shipping waits for what the carrier reports. After the capture, money is refunded."""

RETURN = Saga(
    name="return",
    key="order_id",
    first=("ordering.ReturnRequested",),
    ends=(
        End(name="refunded", events=("ordering.ReturnRefunded",)),
        End(name="lapsed", events=("ordering.ReturnLapsed",)),
    ),
    slow_after=timedelta(days=15),
    waits_for=("shipping.ReportReturnReceived",),
)
"""Ordering ends it after CHORUS_RETURN_WAIT, 14 days unless it says otherwise; a parcel may come later still."""

SAGAS: tuple[Saga, ...] = (PURCHASE, ORDER, RETURN, CHECKOUT)
