"""The invariants of orders and their parcels: each ends once, and has a timer as long as it is open."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

from shared.wire.messages import OCCURRED_AT, split_edition
from tests.chaos.evidence import Evidence, Fact
from tests.chaos.finding import Finding
from tests.chaos.invariants.states import by_key, statuses_of, timers_armed

GRACE = timedelta(seconds=30)
"""How long after its deadline an order may take, while every context works."""
ENDS_OF_ORDERS = ("OrderCancelled", "DeliveryRecorded")
ONCE_A_PARCEL = ("DispatchRequested", "OrderShipped", "ShipmentCancelled", "ShipmentFailed", "OrderDelivered")


def orders_end_once(evidence: Evidence) -> Iterator[Finding]:
    """I3: an order ends once, and is not confirmed after its end."""
    for order, facts in by_key(evidence, "ordering").items():
        said = Counter(fact.type for fact in facts)
        if sum(said[end] for end in ENDS_OF_ORDERS) > 1:
            yield Finding(invariant="I3", where=order, what=f"ends more than once: {[fact.type for fact in facts]}")
        if said["OrderConfirmed"] > 1 or said["OrderPlaced"] > 1:
            yield Finding(invariant="I3", where=order, what="is placed or confirmed more than once")
        types = [fact.type for fact in sorted(facts, key=lambda fact: _version(fact))]
        if "OrderCancelled" in types and "OrderConfirmed" in types[types.index("OrderCancelled") :]:
            yield Finding(invariant="I3", where=order, what="is confirmed after it was cancelled")


def parcels_leave_once(evidence: Evidence) -> Iterator[Finding]:
    """I6: an order has one parcel at most, and only after it was confirmed, reserved and paid."""
    facts = evidence.first_facts
    at = {(fact.key, fact.type): fact.stored.headers[OCCURRED_AT] for fact in facts}
    said = Counter((fact.key, fact.type) for fact in facts if fact.context == "shipping")
    for (order, kind), times in said.items():
        if kind in ONCE_A_PARCEL and times > 1:
            yield Finding(invariant="I6", where=order, what=f"{kind} is said {times} times")
        if kind not in ("DispatchRequested", "OrderShipped"):
            continue
        for needed in ("InventoryReserved", "PaymentSucceeded", "OrderConfirmed"):
            if at.get((order, needed), "~") > at[order, kind]:
                yield Finding(invariant="I6", where=order, what=f"{kind} before {needed}")
        if said[order, "ShipmentCancelled"]:
            yield Finding(invariant="I6", where=order, what=f"{kind}, and its shipment is cancelled")


def open_baskets_are_watched(evidence: Evidence) -> Iterator[Finding]:
    """I14: a basket that is open at rest has a timer that will abandon it."""
    armed = timers_armed(evidence)
    for basket, status in statuses_of(evidence, "ordering", "basket").items():
        if status == "OPEN" and ("ordering", "BasketIdle", basket) not in armed:
            yield Finding(invariant="I14", where=basket, what="is an open basket, and no timer will end that")


def orders_are_terminal(evidence: Evidence) -> Iterator[Finding]:
    """I14: an order that is open at rest has a timer that will end it."""
    statuses = statuses_of(evidence, "ordering", "order")
    extended = {fact.key: fact for fact in evidence.first_facts if fact.type == "OrderDeadlineExtended"}
    overdue = {fact.key for fact in evidence.first_facts if fact.type == "ParcelOverdue"}
    armed = timers_armed(evidence)
    for order, status in statuses.items():
        ends_by = {
            "PENDING": ("ordering", "ExtendedDeadline" if order in extended else "OrderDeadline"),
            "CONFIRMED": ("shipping", "DispatchDue"),
            "SHIPPED": ("shipping", "ParcelStillSilent" if order in overdue else "ParcelSilence"),
        }
        timer = ends_by.get(status)
        if status == "CANCELLING" or (timer is not None and (*timer, order) not in armed):
            yield Finding(invariant="I14", where=order, what=f"is {status}, and no timer will end that")
    decided = {
        fact.key: fact for fact in reversed(evidence.first_facts) if fact.type in ("OrderConfirmed", "OrderCancelled")
    }
    for fact in evidence.first_facts:
        if fact.type == "OrderPlaced" and fact.key in decided:
            deadline_at = _time(str(extended.get(fact.key, fact).content("expires_at")))
            late = _time(decided[fact.key].stored.headers[OCCURRED_AT]) - deadline_at
            if late > GRACE + evidence.away:
                yield Finding(invariant="I14", where=fact.key, what=f"was decided {late} after its deadline")


def _version(fact: Fact) -> int:
    version = split_edition(fact.id)[0].rpartition("@")[2]
    return int(version) if version.isdecimal() else 0


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
