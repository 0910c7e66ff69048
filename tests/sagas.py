"""How the order saga ends: for each right ending, every fact of the order, the mails to the customer, and the money.

The tests of all tiers share these endings. They name the contexts that they are about; facts of other contexts under
the same key do not count.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from contexts.notifications.events import Template

CONTEXTS = ("ordering", "inventory", "payments", "shipping", "notifications")
IN_ORDER = CONTEXTS[:-1]
"""The contexts whose facts about one order have one order among themselves; mails go out side by side."""

PLACED = ("ordering.OrderPlaced",)
RESERVED = ("inventory.InventoryReserved",)
HELD = ("payments.AuthorizationRequested", "payments.PaymentAuthorized")
TAKEN = (*HELD, "payments.CaptureRequested", "payments.PaymentSucceeded")
VOIDED = ("payments.VoidRequested", "payments.PaymentVoided")
REFUNDED = ("payments.RefundRequested", "payments.PaymentRefunded")
REFUNDED_LATE = (*("payments.RefundRequested", "payments.RefundFailed") * 2, *REFUNDED)
"""The bank refuses the refund twice."""
JOINED = ("shipping.ShipmentRequirementMet", "shipping.ShipmentRequirementMet", "shipping.DeliveryScheduled")
SENT = ("shipping.DispatchRequested", "shipping.OrderShipped", "ordering.ShipmentRecorded", "inventory.StockCommitted")
STOPPED = ("shipping.ShipmentCancelled",)
MAILED = ("NotificationQueued", "CustomerNotified")

WAITED = ("inventory.InventoryBackordered", "ordering.OrderDeadlineExtended")

NOTED = ("payments.ReservationNoted",)
"""Published only when the goods were reserved before the money was held."""


class Ending(Struct, frozen=True, kw_only=True):
    """One right ending. Each of `perhaps` is published at most as often as it stands there, depending on timing."""

    facts: Sequence[str]
    mails: Sequence[Template]
    money: Sequence[Literal["capture", "refund"]] = ()
    perhaps: Sequence[str] = ()

    @property
    def must(self) -> Counter[str]:
        """Every fact that is published for certain, mails included."""
        mailed = (f"notifications.{event} {template}" for template in self.mails for event in MAILED)
        return Counter((*self.facts, *mailed))

    def missing(self, said: Iterable[str]) -> Counter[str]:
        """The facts that are still to come."""
        return self.must - Counter(said)

    def unexpected(self, said: Iterable[str]) -> Counter[str]:
        """The facts that this ending does not have."""
        ours = Counter(fact for fact in said if fact.partition(".")[0] in CONTEXTS)
        return ours - self.must - Counter(self.perhaps)

    def is_reached(self, said: Iterable[str]) -> bool:
        """Whether every certain fact was published."""
        return not self.missing(said)

    def is_kept(self, said: Sequence[str]) -> bool:
        """Whether those facts were published, and no others."""
        return self.is_reached(said) and not self.unexpected(said)

    def is_in_order(self, said: Sequence[str]) -> bool:
        """Whether each context published its facts in the order in which this ending has them."""
        return all(self._certain(self.facts, context) == self._certain(said, context) for context in IN_ORDER)

    def _certain(self, facts: Iterable[str], context: str) -> list[str]:
        return [fact for fact in facts if fact.startswith(f"{context}.") and fact not in self.perhaps]


def fact_line(context: str, event: str, content: Mapping[str, Any]) -> str:
    """`context.Event`, with the word that tells it from other events of its type."""
    told_fields = {"OrderCancelled": "reason", "ShipmentFailed": "stage", "PaymentFailed": "stage"}
    field = "template" if context == "notifications" else told_fields.get(event)
    return f"{context}.{event}" + (f" {content[field]}" if field else "")


CONFIRMED = Ending(
    facts=(*PLACED, *RESERVED, *TAKEN, "ordering.OrderConfirmed", *JOINED),
    mails=("order_received", "order_confirmed"),
    money=("capture",),
    perhaps=NOTED,
)
SHIPPED = Ending(
    facts=(*CONFIRMED.facts, *SENT),
    mails=(*CONFIRMED.mails, "order_shipped"),
    money=("capture",),
    perhaps=NOTED,
)
OVERDUE = Ending(
    facts=(*SHIPPED.facts, "shipping.ParcelOverdue", "shipping.ParcelOverdue"),
    mails=(*SHIPPED.mails, "parcel_overdue", "ticket_opened"),
    money=("capture",),
    perhaps=NOTED,
)
"""Shipped, and for two periods there was no news of the parcel."""
DELIVERED = Ending(
    facts=(*SHIPPED.facts, "shipping.OrderDelivered", "ordering.DeliveryRecorded"),
    mails=(*SHIPPED.mails, "order_delivered"),
    money=("capture",),
    perhaps=NOTED,
)


TAKEN_BACK = (
    "ordering.ReturnRequested",
    "ordering.ReturnCounted",
    "shipping.ReturnExpected",
    "shipping.ReturnReceived",
    "payments.ReturnPriced",
    *REFUNDED,
    "ordering.ReturnReceiptRecorded",
    "ordering.ReturnRefunded",
)
"""One return of some lines, from the request to its money."""

SENT_BACK = Ending(
    facts=(*DELIVERED.facts, *TAKEN_BACK),
    mails=(*DELIVERED.mails, "return_requested", "return_refunded"),
    money=("capture", "refund"),
    perhaps=NOTED,
)


def cancelled(reason: str, *facts: str, perhaps: Sequence[str] = ()) -> Ending:
    """An order that ended before any money was taken."""
    return Ending(
        facts=(*PLACED, *facts, f"ordering.OrderCancelled {reason}", *STOPPED),
        mails=("order_received", "order_cancelled"),
        perhaps=perhaps,
    )


OUT_OF_STOCK = cancelled(
    "out_of_stock",
    "inventory.InventoryRejected",
    "payments.AuthorizationRequested",
    *VOIDED,
    perhaps=("payments.PaymentAuthorized",),
)
BACKORDERED = Ending(facts=(*PLACED, *WAITED, *HELD), mails=("order_received", "order_backordered"))
"""The order waits for stock, and its money is held."""
SERVED = Ending(
    facts=(*PLACED, *WAITED, *SHIPPED.facts[1:]), mails=(*SHIPPED.mails, "order_backordered"), money=("capture",)
)
"""Shipped after it had waited for stock."""


def given_up(reason: str, *facts: str) -> Ending:
    """An order that waited for stock in vain, or was not wanted any more."""
    return Ending(
        facts=(*PLACED, *WAITED, *HELD, *facts, f"ordering.OrderCancelled {reason}", *STOPPED, *VOIDED),
        mails=("order_received", "order_backordered", "order_cancelled"),
    )


BACKORDER_EXPIRED = given_up("out_of_stock", "inventory.InventoryRejected")
BACKORDER_CANCELLED = given_up("customer", "inventory.InventoryReleased")
UNDONE = (*RESERVED, "inventory.InventoryReleased")
EARLY = (*NOTED, "shipping.ShipmentRequirementMet")
"""Facts that contexts may have published about a reservation before the order was cancelled."""

PAYMENT_REFUSED = cancelled(
    "payment_failed", *UNDONE, "payments.AuthorizationRequested", "payments.PaymentFailed authorize", perhaps=EARLY
)
CAPTURE_REFUSED = cancelled(
    "payment_failed",
    *UNDONE,
    *HELD,
    "payments.CaptureRequested",
    "payments.PaymentFailed capture",
    *VOIDED,
    perhaps=EARLY,
)


def voided(reason: str) -> Ending:
    """Cancelled while the bank was being asked."""
    perhaps = (*EARLY, "payments.PaymentAuthorized")
    return cancelled(reason, *UNDONE, "payments.AuthorizationRequested", *VOIDED, perhaps=perhaps)


def refunded(reason: str) -> Ending:
    """Cancelled while the money was being taken, so that it had to be given back."""
    ending = cancelled(
        reason,
        *UNDONE,
        *TAKEN,
        *REFUNDED,
        perhaps=(*EARLY, "shipping.ShipmentRequirementMet", "payments.CancellationNoted"),
    )
    return Ending(
        facts=ending.facts,
        mails=(*ending.mails, "payment_refunded"),
        money=("capture", "refund"),
        perhaps=ending.perhaps,
    )


CALLED_BACK = Ending(
    facts=(
        *CONFIRMED.facts,
        "ordering.OrderCancellationRequested",
        *STOPPED,
        "ordering.OrderCancelled customer",
        "inventory.InventoryReleased",
        *REFUNDED,
    ),
    mails=(*CONFIRMED.mails, "order_cancelled", "payment_refunded"),
    money=("capture", "refund"),
    perhaps=NOTED,
)
TOO_LATE = Ending(
    facts=(*SHIPPED.facts, "ordering.OrderCancellationRejected"),
    mails=(*SHIPPED.mails, "cancellation_rejected"),
    money=("capture",),
    perhaps=NOTED,
)
JUST_TOO_LATE = Ending(
    facts=TOO_LATE.facts,
    mails=TOO_LATE.mails,
    money=("capture",),
    perhaps=(*NOTED, "ordering.OrderCancellationRequested"),
)
PLACED_TWICE = Ending(
    facts=(*SHIPPED.facts, "ordering.CommandRejected"),
    mails=SHIPPED.mails,
    money=("capture",),
    perhaps=NOTED,
)
"""Shipped; another order under the same key was rejected after that."""


def undelivered(stage: str, *facts: str, refund: Sequence[str] = REFUNDED) -> Ending:
    """The parcel does not reach the customer, who has the money back."""
    before = CONFIRMED if stage == "before_dispatch" else SHIPPED
    delayed: tuple[Template, ...] = ("refund_delayed",) if refund is REFUNDED_LATE else ()
    helped: tuple[Template, ...] = ("ticket_opened", "ticket_resolved") if stage == "lost" else ()
    return Ending(
        facts=(
            *before.facts,
            *facts,
            f"shipping.ShipmentFailed {stage}",
            "ordering.OrderCancelled shipment_failed",
            *refund,
        ),
        mails=(*before.mails, "shipment_failed", "order_cancelled", *delayed, *helped, "payment_refunded"),
        money=("capture", "refund"),
        perhaps=NOTED,
    )


REFUSED_BY_CARRIER = undelivered("before_dispatch", "shipping.DispatchRequested", "inventory.InventoryReleased")
REFUSED_BY_CARRIER_AND_REFUNDED_LATE = undelivered(
    "before_dispatch", "shipping.DispatchRequested", "inventory.InventoryReleased", refund=REFUNDED_LATE
)
LOST = undelivered("lost", "inventory.StockWrittenOff")
RETURNED = undelivered("returned", "inventory.InventoryReleased")
RETURNED_AND_REFUNDED_LATE = undelivered("returned", "inventory.InventoryReleased", refund=REFUNDED_LATE)
