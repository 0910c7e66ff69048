"""The invariants of a shop: its orders, its stock, its money, its parcels and its letters."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from shared.wire.messages import OCCURRED_AT, aggregate_name, split_edition
from shared.wire.streams import TIMERS
from tests.chaos.evidence import Evidence, Fact
from tests.chaos.finding import Finding

MINT, MERCHANT = "mint", "merchant"
OF_ARTICLES: Final = ("stock", "movement", "price", "shelf")
"""The aggregates whose key is a SKU; the key of every other is an order."""
GRACE = timedelta(seconds=30)
"""How long after its deadline an order may take."""
ENDS_OF_ORDERS = ("OrderCancelled", "DeliveryRecorded")
ENDS_OF_RESERVATIONS = ("InventoryReleased", "InventoryRejected", "StockCommitted", "StockWrittenOff")
Movement: TypeAlias = tuple[str, str, int]
"""A SKU, what moved, and by how much it changed the count."""
ONCE_A_PARCEL = ("DispatchRequested", "OrderShipped", "ShipmentCancelled", "ShipmentFailed", "OrderDelivered")


def orders_end_once(evidence: Evidence) -> Iterator[Finding]:
    """I3: an order ends once, and is not confirmed after its end."""
    for order, facts in _by_key(evidence, "ordering").items():
        said = Counter(fact.type for fact in facts)
        if sum(said[end] for end in ENDS_OF_ORDERS) > 1:
            yield Finding(invariant="I3", where=order, what=f"ends more than once: {[fact.type for fact in facts]}")
        if said["OrderConfirmed"] > 1 or said["OrderPlaced"] > 1:
            yield Finding(invariant="I3", where=order, what="is placed or confirmed more than once")
        types = [fact.type for fact in sorted(facts, key=lambda fact: _version(fact))]
        if "OrderCancelled" in types and "OrderConfirmed" in types[types.index("OrderCancelled") :]:
            yield Finding(invariant="I3", where=order, what="is confirmed after it was cancelled")


def cancelled_orders_keep_no_money(evidence: Evidence) -> Iterator[Finding]:
    """I3 and I5 at rest: a cancelled order has its money back, and a standing order has paid."""
    kept = _kept_minor(evidence)
    for order, status in _statuses(evidence, "ordering", "order").items():
        minor = kept.get(f"pay-{order}", 0)
        if status == "CANCELLED" and minor:
            yield Finding(invariant="I3", where=order, what=f"is cancelled, and {minor} of its money is here")
        if status in ("CONFIRMED", "SHIPPED", "DELIVERED") and not minor:
            yield Finding(invariant="I5", where=order, what=f"is {status}, and not paid for")
    for (account, _), (_, held_minor) in evidence.books.accounts.items():
        if held_minor:
            yield Finding(invariant="I5", where=account, what=f"{held_minor} is held for nobody")


def stock_adds_up(evidence: Evidence) -> Iterator[Finding]:
    """I4: stock is never negative, and adds up in inventory's journal."""
    came_in: Counter[str] = Counter()
    on_hand: Counter[str] = Counter()
    reserved: Counter[str] = Counter()
    ends: dict[str, tuple[str, Sequence[Any]]] = {}
    lines: dict[str, Sequence[Any]] = {}
    counted: Counter[Movement] = Counter()
    recorded: Counter[Movement] = Counter()
    for row in evidence.databases["inventory"].journal:
        content = json.loads(row.body)
        match row.type:
            case "StockReplenished":
                came_in[row.key] += content["quantity"]
                counted[row.key, f"delivery:{content['delivery_id']}", content["quantity"]] += 1
            case "StockAdjusted":
                came_in[row.key] += content["delta"]
                if content["adjustment_id"] is not None:
                    counted[row.key, f"adjustment:{content['adjustment_id']}", content["delta"]] += 1
            case "StockMovementRecorded":
                recorded[row.key, content["movement_id"], content["quantity"]] += 1
            case "StockLevelChanged":
                on_hand[row.key], reserved[row.key] = content["on_hand"], content["reserved"]
                if not 0 <= content["reserved"] <= content["on_hand"]:
                    yield Finding(invariant="I4", where=row.event_id, what=f"{content}")
            case "InventoryReserved" | "InventoryReleased" | "StockCommitted" | "StockWrittenOff":
                lines.setdefault(row.key, content["lines"])
                ends[row.key] = (row.type, lines[row.key])
    yield from _movements_are_single(counted, recorded)
    gone: Counter[str] = Counter()
    promised: Counter[str] = Counter()
    for last, of_order in ends.values():
        for line in of_order:
            gone[line["sku"]] += line["quantity"] if last in ("StockCommitted", "StockWrittenOff") else 0
            promised[line["sku"]] += line["quantity"] if last == "InventoryReserved" else 0
    for sku in came_in | gone | promised:
        if came_in[sku] != on_hand[sku] + gone[sku]:
            what = f"{came_in[sku]} came in, {on_hand[sku]} are on hand and {gone[sku]} are gone"
            yield Finding(invariant="I4", where=sku, what=what)
        if reserved[sku] != promised[sku]:
            what = f"{reserved[sku]} are reserved, and open reservations are for {promised[sku]}"
            yield Finding(invariant="I4", where=sku, what=what)


def _movements_are_single(counted: Counter[Movement], recorded: Counter[Movement]) -> Iterator[Finding]:
    """A delivery, or an adjustment with an id, was counted once, and is recorded as it was counted."""
    for sku, movement, quantity in counted.keys() | recorded.keys():
        times = counted[sku, movement, quantity], recorded[sku, movement, quantity]
        if times != (1, 1):
            what = f"{movement} of {quantity} was counted {times[0]} times and recorded {times[1]} times"
            yield Finding(invariant="I4", where=sku, what=what)


def money_adds_up(evidence: Evidence) -> Iterator[Finding]:
    """I5: a payment moves its total at most once, and at most once back; the balances agree with the ledger."""
    books = evidence.books
    totals: dict[str, Any] = {
        f"pay-{fact.key}": fact.content("total") for fact in evidence.facts() if fact.type == "OrderPlaced"
    }
    moved: Counter[tuple[str, str]] = Counter()
    balances: Counter[tuple[str, str]] = Counter()
    for entry in books.ledger:
        balances[entry.from_account, entry.currency] -= entry.amount_minor
        balances[entry.to_account, entry.currency] += entry.amount_minor
        if entry.reason == "opening":
            continue
        moved[entry.payment_id, entry.reason] += 1
        total = totals.get(entry.payment_id)
        if total is None or (entry.amount_minor, entry.currency) != (total["amount_minor"], total["currency"]):
            what = f"{entry.reason} of {entry.amount_minor} {entry.currency}, where the total is {total}"
            yield Finding(invariant="I5", where=entry.payment_id, what=what)
    for (payment, reason), times in moved.items():
        if times > 1 or moved[payment, "refund"] > moved[payment, "capture"]:
            yield Finding(invariant="I5", where=payment, what=f"{reason} {times} times")
    for account, (balance_minor, held_minor) in books.accounts.items():
        if balance_minor != balances[account]:
            what = f"its balance is {balance_minor}, and what was moved comes to {balances[account]}"
            yield Finding(invariant="I5", where=account[0], what=what)
        if account[0] != MINT and balance_minor < held_minor:
            yield Finding(invariant="I5", where=account[0], what=f"holds {held_minor} of {balance_minor}")
    answered = Counter(
        (_key_of(key), given.operation)
        for key, given in books.answers.items()
        if given.operation in ("capture", "refund") and given.is_done
    )
    for (order, operation), times in answered.items():
        if times != moved[f"pay-{order}", operation]:
            what = (
                f"{times} keys were answered that {operation} is done, {moved[f'pay-{order}', operation]} moved money"
            )
            yield Finding(invariant="I5", where=order, what=what)


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


def orders_are_terminal(evidence: Evidence) -> Iterator[Finding]:
    """I14: an order that is open at rest has a timer that will end it."""
    statuses = _statuses(evidence, "ordering", "order")
    armed = _armed(evidence)
    for order, status in statuses.items():
        timer = {"PENDING": ("ordering", "OrderDeadline"), "CONFIRMED": ("shipping", "DispatchDue")}.get(status)
        if status == "CANCELLING" or (timer is not None and (*timer, order) not in armed):
            yield Finding(invariant="I14", where=order, what=f"is {status}, and no timer will end that")
    decided = {
        fact.key: fact for fact in reversed(evidence.first_facts) if fact.type in ("OrderConfirmed", "OrderCancelled")
    }
    for fact in evidence.first_facts:
        if fact.type == "OrderPlaced" and fact.key in decided:
            late = _time(decided[fact.key].stored.headers[OCCURRED_AT]) - _time(str(fact.content("expires_at")))
            if late > GRACE:
                yield Finding(invariant="I14", where=fact.key, what=f"was decided {late} after its deadline")


def reservations_are_settled(evidence: Evidence) -> Iterator[Finding]:
    """I15: a reservation is consumed, released or rejected once; an open one belongs to an open order."""
    orders = _statuses(evidence, "ordering", "order")
    for order, status in _statuses(evidence, "inventory", "reservation").items():
        if status == "RESERVED" and orders.get(order) not in ("PENDING", "CONFIRMED"):
            yield Finding(invariant="I15", where=order, what=f"is {orders.get(order)}, and its goods are reserved")
    for order, facts in _by_key(evidence, "inventory").items():
        said = Counter(fact.type for fact in facts)
        for end in ("InventoryReserved", *ENDS_OF_RESERVATIONS):
            if said[end] > 1:
                yield Finding(invariant="I15", where=order, what=f"{end} is said {said[end]} times")


def letters_are_single(evidence: Evidence) -> Iterator[Finding]:
    """I16: a customer has each letter once."""
    said: Counter[tuple[str, str, Any]] = Counter()
    for fact in evidence.first_facts:
        if fact.context == "notifications" and fact.type != "NotificationHeld":
            asked = "queued" if fact.type == "NotificationQueued" else "answered"
            said[fact.key, asked, fact.content("template")] += 1
    for (order, asked, template), times in said.items():
        if times > 1:
            yield Finding(invariant="I16", where=order, what=f"{template} was {asked} {times} times")
        if asked == "queued" and not said[order, "answered", template]:
            yield Finding(invariant="I16", where=order, what=f"{template} was never answered")


def _by_key(evidence: Evidence, context: str) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in evidence.first_facts:
        if fact.context == context and aggregate_name(fact.aggregate.partition("/")[2]) not in OF_ARTICLES:
            found.setdefault(fact.key, []).append(fact)
    return found


def _statuses(evidence: Evidence, context: str, aggregate: str) -> dict[str, str]:
    prefix = f"{aggregate}-"
    return {
        name.removeprefix(prefix): json.loads(state)["status"]
        for name, (_, state) in evidence.databases[context].aggregates.items()
        if name.startswith(prefix)
    }


def _kept_minor(evidence: Evidence) -> Counter[str]:
    kept: Counter[str] = Counter()
    for entry in evidence.books.ledger:
        if entry.reason != "opening":
            kept[entry.payment_id] += entry.amount_minor if entry.to_account == MERCHANT else -entry.amount_minor
    return kept


def _armed(evidence: Evidence) -> set[tuple[str, str, str]]:
    """(context, timer, key) of every timer that will come due."""
    subjects = [stored.subject.split(".") for stored in evidence.streams[TIMERS]]
    return {
        (context, timer, key) for kind, context, timer, key in (s for s in subjects if len(s) == 4) if kind == "timer"
    }


def _key_of(idempotency_key: str) -> str:
    """The order in `payments/payment-o-42@3`."""
    return idempotency_key.rpartition("@")[0].partition("/payment-")[2]


def _version(fact: Fact) -> int:
    version = split_edition(fact.id)[0].rpartition("@")[2]
    return int(version) if version.isdecimal() else 0


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
