"""How sagas end: all the facts that must have been said of an order, those that may, the letters and the money."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal

import anyio
from msgspec import Struct

from shared.wire.messages import CAUSATION_DEPTH, split_edition
from tests.e2e.shop import Shop
from tests.watching import Fact

ENDS_WITHIN_S = 60.0

Template = Literal[
    "order_received",
    "order_confirmed",
    "order_shipped",
    "order_delivered",
    "order_cancelled",
    "cancellation_rejected",
    "payment_refunded",
    "refund_delayed",
    "shipment_failed",
]

PLACED = ("ordering.OrderPlaced",)
RESERVED = ("inventory.InventoryReserved",)
HELD = ("payments.AuthorizationRequested", "payments.PaymentAuthorized")
TAKEN = (*HELD, "payments.CaptureRequested", "payments.PaymentSucceeded")
VOIDED = ("payments.VoidRequested", "payments.PaymentVoided")
REFUNDED = ("payments.RefundRequested", "payments.PaymentRefunded")
JOINED = ("shipping.ShipmentRequirementMet", "shipping.ShipmentRequirementMet", "shipping.DeliveryScheduled")
SENT = ("shipping.DispatchRequested", "shipping.OrderShipped", "ordering.ShipmentRecorded", "inventory.StockCommitted")
STOPPED = ("shipping.ShipmentCancelled",)

NOTED = ("payments.ReservationNoted",)
"""Said only when the goods were reserved before the money was held."""


class End(Struct, frozen=True, kw_only=True):
    """One right end. `perhaps` is what the real order of things may or may not add, at most as often as it stands."""

    facts: Sequence[str]
    letters: Sequence[Template]
    money: Sequence[Literal["capture", "refund"]] = ()
    perhaps: Sequence[str] = ()

    @property
    def must(self) -> Counter[str]:
        """Every fact that must have been said, letters included."""
        posted = (f"notifications.{event} {letter}" for letter in self.letters for event in POSTED)
        return Counter((*self.facts, *posted))

    def is_reached(self, said: Iterable[str]) -> bool:
        """Whether all that must be said was said."""
        return self.must <= Counter(said)

    def is_kept(self, said: Iterable[str]) -> bool:
        """Whether that was said and nothing else."""
        return self.is_reached(said) and Counter(said) - self.must <= Counter(self.perhaps)


POSTED = ("NotificationQueued", "CustomerNotified")

CONFIRMED = End(
    facts=(*PLACED, *RESERVED, *TAKEN, "ordering.OrderConfirmed", *JOINED),
    letters=("order_received", "order_confirmed"),
    money=("capture",),
    perhaps=NOTED,
)
SHIPPED = End(
    facts=(*CONFIRMED.facts, *SENT),
    letters=(*CONFIRMED.letters, "order_shipped"),
    money=("capture",),
    perhaps=NOTED,
)
DELIVERED = End(
    facts=(*SHIPPED.facts, "shipping.OrderDelivered", "ordering.DeliveryRecorded"),
    letters=(*SHIPPED.letters, "order_delivered"),
    money=("capture",),
    perhaps=NOTED,
)


def cancelled(reason: str, *facts: str, perhaps: Sequence[str] = ()) -> End:
    """An order that ended before any money was taken."""
    return End(
        facts=(*PLACED, *facts, f"ordering.OrderCancelled {reason}", *STOPPED),
        letters=("order_received", "order_cancelled"),
        perhaps=perhaps,
    )


OUT_OF_STOCK = cancelled(
    "out_of_stock",
    "inventory.InventoryRejected",
    "payments.AuthorizationRequested",
    *VOIDED,
    perhaps=("payments.PaymentAuthorized",),
)
UNDONE = (*RESERVED, "inventory.InventoryReleased")
EARLY = (*NOTED, "shipping.ShipmentRequirementMet")
"""What may have been noted of a reservation before the order was cancelled."""

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


def voided(reason: str) -> End:
    """Cancelled while the bank was being asked."""
    perhaps = (*EARLY, "payments.PaymentAuthorized")
    return cancelled(reason, *UNDONE, "payments.AuthorizationRequested", *VOIDED, perhaps=perhaps)


def refunded(reason: str) -> End:
    """Cancelled while the money was being taken, so that it had to be given back."""
    end = cancelled(
        reason,
        *UNDONE,
        *TAKEN,
        *REFUNDED,
        perhaps=(*EARLY, "shipping.ShipmentRequirementMet", "payments.CancellationNoted"),
    )
    return End(
        facts=end.facts,
        letters=(*end.letters, "payment_refunded"),
        money=("capture", "refund"),
        perhaps=end.perhaps,
    )


CALLED_BACK = End(
    facts=(
        *CONFIRMED.facts,
        "ordering.OrderCancellationRequested",
        *STOPPED,
        "ordering.OrderCancelled customer",
        "inventory.InventoryReleased",
        *REFUNDED,
    ),
    letters=(*CONFIRMED.letters, "order_cancelled", "payment_refunded"),
    money=("capture", "refund"),
    perhaps=NOTED,
)
TOO_LATE = End(
    facts=(*SHIPPED.facts, "ordering.OrderCancellationRejected"),
    letters=(*SHIPPED.letters, "cancellation_rejected"),
    money=("capture",),
    perhaps=NOTED,
)
JUST_TOO_LATE = End(
    facts=TOO_LATE.facts,
    letters=TOO_LATE.letters,
    money=("capture",),
    perhaps=(*NOTED, "ordering.OrderCancellationRequested"),
)


def failed(stage: str, *facts: str) -> End:
    """The parcel does not reach the customer, who has the money back."""
    before = CONFIRMED if stage == "before_dispatch" else SHIPPED
    return End(
        facts=(
            *before.facts,
            *facts,
            f"shipping.ShipmentFailed {stage}",
            "ordering.OrderCancelled shipment_failed",
            *REFUNDED,
        ),
        letters=(*before.letters, "shipment_failed", "order_cancelled", "payment_refunded"),
        money=("capture", "refund"),
        perhaps=NOTED,
    )


REFUSED_BY_CARRIER = failed("before_dispatch", "shipping.DispatchRequested", "inventory.InventoryReleased")
LOST = failed("lost", "inventory.StockWrittenOff")
RETURNED = failed("returned", "inventory.InventoryReleased")


class Ended:
    """The sagas that have ended, and how: at last nothing more may have been said of any."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._sagas: dict[str, tuple[End, str]] = {}

    async def check(self, order: str, *ends: End, token: str = "tok_ok", within_s: float = ENDS_WITHIN_S) -> End:
        """Wait until an order has one of these ends, and assert all of it; the end that it has."""
        shop = self._shop
        with anyio.move_on_after(within_s):
            await shop.watcher.until_true(lambda: any(end.is_reached(shop.facts(order)) for end in ends))
        end = min(ends, key=lambda end: (end.must - Counter(shop.facts(order))).total())
        self._sagas[order] = (end, token)
        self._assert_kept(order)
        return end

    def check_again(self) -> None:
        """Assert that every saga still has the end it had."""
        assert self._sagas
        for order in self._sagas:
            self._assert_kept(order)

    def _assert_kept(self, order: str) -> None:
        shop, (end, token) = self._shop, self._sagas[order]
        said = shop.facts(order)
        assert end.is_kept(said), "\n".join(
            [
                f"{order} ended otherwise:",
                *(f"  missing  {fact} x{times}" for fact, times in (end.must - Counter(said)).items()),
                *(f"  too much {fact} x{times}" for fact, times in (Counter(said) - end.must).items()),
                *said,
            ]
        )
        assert_caused(shop.watcher.about(order))
        assert shop.letters(order) == sorted(end.letters)
        assert shop.ledger(order) == list(end.money)
        assert shop.held_minor(order, token) == 0


def assert_caused(facts: Sequence[Fact]) -> None:
    """Every fact comes after the one that it names as its cause, one step further down.

    What a client's command or a timer leads to begins anew, so whatever came before its cause would be too deep.
    """
    depths: dict[str, int] = {}
    for fact in facts:
        depths[fact.id] = int(fact.headers[CAUSATION_DEPTH])
        depths[split_edition(fact.id)[0]] = depths[fact.id]  # A context names its own events without their edition.
        assert depths[fact.id] == depths.get(fact.cause, 0) + 1, f"{fact.id} comes before its cause {fact.cause}"
