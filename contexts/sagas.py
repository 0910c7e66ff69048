"""Declares how an order may end, for watchers. It steers nothing: each context decides for itself.

The checkout ends when the basket becomes an order, or is abandoned. An order has two sagas more. The purchase ends with
the last word about whether the order stands; the order itself ends when the parcel has arrived, or when the order is
cancelled and its money is settled.
"""

from datetime import timedelta

from shared.saga import End, Saga

CHECKOUT = Saga(
    name="checkout",
    key="order_id",
    first=("ordering.ItemsAddedToBasket",),
    ends=(
        End(name="checked out", events=("ordering.BasketCheckedOut",)),
        End(name="abandoned", events=("ordering.BasketAbandoned",)),
    ),
    slow_after=timedelta(days=7),
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
)
"""Ordering ends it by its deadline, 15 minutes unless CHORUS_ORDER_DEADLINE says otherwise."""

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
)
"""A parcel travels for days, and shipping waits for what the carrier reports."""

SAGAS: tuple[Saga, ...] = (CHECKOUT, PURCHASE, ORDER)
