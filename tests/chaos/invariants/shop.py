"""The invariants of a shop: its orders, its stock, its money, its parcels and its letters."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from shared.wire.messages import OCCURRED_AT, aggregate_name, split_edition
from shared.wire.streams import TIMERS
from tests.chaos.evidence import Evidence, Fact
from tests.chaos.finding import Finding
from tests.ledger import problems_of

OF_ARTICLES: Final = ("stock", "movement", "price", "shelf")
"""The aggregates whose key is a SKU; the key of every other is an order."""
GRACE = timedelta(seconds=30)
"""How long after its deadline an order may take."""
ENDS_OF_ORDERS = ("OrderCancelled", "DeliveryRecorded")
ENDS_OF_RESERVATIONS = ("InventoryReleased", "InventoryRejected", "StockCommitted", "StockWrittenOff")
LETTERS = {"NotificationQueued": "queued", "CustomerNotified": "answered", "NotificationFailed": "answered"}
"""The events that count a letter. One that waits for an address may be withdrawn, and held again."""
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
    """I3 and I5 at rest: a cancelled order has its money back, and nothing is held but for orders that wait."""
    kept = _kept_minor(evidence)
    for order, status in _statuses(evidence, "ordering", "order").items():
        minor = kept.get(f"pay-{order}", 0)
        if status == "CANCELLED" and minor:
            yield Finding(invariant="I3", where=order, what=f"is cancelled, and {minor} of its money is here")
    waits = _held_for_orders_that_wait(evidence)
    for (account, currency), balance in evidence.books.ledger.balances.items():
        held_minor = balance.held_minor
        if held_minor != waits[account, currency]:
            what = f"{held_minor} is held, and {waits[account, currency]} for orders that wait for stock"
            yield Finding(invariant="I5", where=account, what=what)


def _held_for_orders_that_wait(evidence: Evidence) -> Counter[tuple[str, str]]:
    """By account and currency."""
    reservations = _statuses(evidence, "inventory", "reservation")
    payments = _statuses(evidence, "payments", "payment")
    held: Counter[tuple[str, str]] = Counter()
    for fact in evidence.first_facts:
        if fact.type == "OrderPlaced" and reservations.get(fact.key) == "BACKORDERED":
            total: Any = fact.content("total")
            if payments.get(fact.key) == "AUTHORIZED":
                held[str(fact.content("method_token")), total["currency"]] += total["amount_minor"]
    return held


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
            case "StockReturned":
                came_in[row.key] += content["quantity"]
                returned = f"return:{content['order_id']}/{content['return_id']}"
                counted[row.key, returned, content["quantity"]] += 1
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
    """I5: a payment takes its total once, and gives no more back; the balances agree with the ledger."""
    books = evidence.books
    totals: dict[str, Any] = {
        f"pay-{fact.key}": fact.content("total") for fact in evidence.facts() if fact.type == "OrderPlaced"
    }
    moved: Counter[tuple[str, str]] = Counter()
    times: Counter[tuple[str, str]] = Counter()
    for payment, reason, currency, minor in books.ledger.moved:
        moved[payment, reason] += minor
        times[payment, reason] += 1
        total = totals.get(payment)
        if total is None or currency != total["currency"]:
            what = f"{reason} of {minor} {currency}, where the total is {total}"
            yield Finding(invariant="I5", where=payment, what=what)
    for (payment, reason), minor in moved.items():
        total_minor = totals.get(payment, {"amount_minor": 0})["amount_minor"]
        if reason == "capture" and (minor != total_minor or times[payment, reason] > 1):
            what = f"{minor} was taken in {times[payment, reason]} captures, where the total is {total_minor}"
            yield Finding(invariant="I5", where=payment, what=what)
        if reason == "refund" and minor > moved[payment, "capture"]:
            what = f"{minor} was given back of {moved[payment, 'capture']}"
            yield Finding(invariant="I5", where=payment, what=what)
    for where, problem in problems_of(books.ledger):
        yield Finding(invariant="I5", where=where, what=problem)
    answered = Counter(
        (_key_of(key), given.operation)
        for key, given in books.answers.items()
        if given.operation in ("capture", "refund") and given.is_done
    )
    for (order, operation), said in answered.items():
        if said != times[f"pay-{order}", operation]:
            what = f"{said} keys were answered that {operation} is done, {times[f'pay-{order}', operation]} moved money"
            yield Finding(invariant="I5", where=order, what=what)


def returns_add_up(evidence: Evidence) -> Iterator[Finding]:
    """I3 and I5 at rest: the money that is here is the totals of the standing orders less that of their returns.

    No more units come back than were bought, each return has one end, and one that waits holds a live timer.
    """
    kept = _kept_minor(evidence)
    given_back: Counter[str] = Counter()
    totals: dict[str, int] = {}
    bought: Counter[tuple[str, str]] = Counter()
    back: Counter[tuple[str, str]] = Counter()
    ends: Counter[tuple[str, Any, str]] = Counter()
    for fact in evidence.first_facts:
        if fact.type == "OrderPlaced":
            totals[fact.key] = _minor(fact, "total")
            _count(bought, fact)
        elif fact.type == "ReturnReceived":
            _count(back, fact)
        elif fact.type == "PaymentRefunded" and fact.content("return_id") is not None:
            given_back[fact.key] += _minor(fact, "amount")
        if fact.type in ("ReturnRequested", "ReturnReceived", "ReturnRefunded", "ReturnLapsed"):
            ends[fact.key, fact.content("return_id"), fact.type] += 1
    for (order, return_id, kind), times in ends.items():
        if times > 1:
            yield Finding(invariant="I3", where=order, what=f"{kind} is said {times} times of return {return_id}")
        received, refunded = ends[order, return_id, "ReturnReceived"], ends[order, return_id, "ReturnRefunded"]
        if kind == "ReturnReceived" and not refunded:
            yield Finding(invariant="I5", where=order, what=f"return {return_id} came, and is not refunded")
        waits = kind == "ReturnRequested" and not received and not ends[order, return_id, "ReturnLapsed"]
        if waits and ("ordering", "ReturnDeadline", order) not in _armed(evidence):
            yield Finding(invariant="I14", where=order, what=f"return {return_id} waits, and no timer will end that")
    for (order, sku), quantity in back.items():
        if quantity > bought[order, sku]:
            what = f"{quantity} of {sku} came back, and {bought[order, sku]} were bought"
            yield Finding(invariant="I4", where=order, what=what)
    for order, status in _statuses(evidence, "ordering", "order").items():
        left = totals.get(order, 0) - given_back[order]
        if status in ("CONFIRMED", "SHIPPED", "DELIVERED") and kept[f"pay-{order}"] != left:
            what = f"{kept[f'pay-{order}']} of its money is here, and {left} should be"
            yield Finding(invariant="I5", where=order, what=what)


def _minor(fact: Fact, field: str) -> int:
    money: Any = fact.content(field)
    return int(money["amount_minor"])


def _count(units: Counter[tuple[str, str]], fact: Fact) -> None:
    lines: Any = fact.content("lines")
    for line in lines:
        units[fact.key, line["sku"]] += line["quantity"]


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
    extended = {fact.key: fact for fact in evidence.first_facts if fact.type == "OrderDeadlineExtended"}
    overdue = {fact.key for fact in evidence.first_facts if fact.type == "ParcelOverdue"}
    armed = _armed(evidence)
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
            if late > GRACE:
                yield Finding(invariant="I14", where=fact.key, what=f"was decided {late} after its deadline")


def reservations_are_settled(evidence: Evidence) -> Iterator[Finding]:
    """I15: a reservation is consumed, released or rejected once; an open one belongs to an open order."""
    orders = _statuses(evidence, "ordering", "order")
    for order, status in _statuses(evidence, "inventory", "reservation").items():
        if status == "RESERVED" and orders.get(order) not in ("PENDING", "CONFIRMED"):
            yield Finding(invariant="I15", where=order, what=f"is {orders.get(order)}, and its goods are reserved")
        if status == "BACKORDERED" and orders.get(order) != "PENDING":
            yield Finding(invariant="I15", where=order, what=f"is {orders.get(order)}, and waits for stock")
    for order, facts in _by_key(evidence, "inventory").items():
        said = Counter(fact.type for fact in facts)
        for end in ("InventoryReserved", *ENDS_OF_RESERVATIONS):
            if said[end] > 1:
                yield Finding(invariant="I15", where=order, what=f"{end} is said {said[end]} times")


def nobody_waits_for_units_that_are_there(evidence: Evidence) -> Iterator[Finding]:
    """I15: a backorder stands once in the queue of each of its SKUs, lacks units, and will expire."""
    items = _states(evidence, "inventory", "stock")
    armed = _armed(evidence)
    places = {
        (sku, waiting["order_id"], waiting["quantity"]) for sku, item in items.items() for waiting in item["waiting"]
    }
    wanted = set()
    for order, state in _states(evidence, "inventory", "reservation").items():
        if state["status"] != "BACKORDERED":
            continue
        lines = {line["sku"]: line["quantity"] for line in state["lines"]}
        wanted |= {(sku, order, quantity) for sku, quantity in lines.items()}
        if all(quantity <= _available_to(order, items[sku]) for sku, quantity in lines.items()):
            yield Finding(invariant="I15", where=order, what="waits for units that are there")
        if ("inventory", "BackorderExpiry", order) not in armed:
            yield Finding(invariant="I15", where=order, what="waits for stock, and no timer will end that")
    for sku, order, quantity in places ^ wanted:
        yield Finding(
            invariant="I15", where=order, what=f"waits for {quantity} of {sku} in one place and not in the other"
        )


def _available_to(order: str, item: Mapping[str, Any]) -> int:
    """The units that no older order wants."""
    ahead = itertools.takewhile(lambda waiting: waiting["order_id"] != order, item["waiting"])
    return int(item["on_hand"] - item["reserved"] - sum(waiting["quantity"] for waiting in ahead))


def letters_are_single(evidence: Evidence) -> Iterator[Finding]:
    """I16: a customer has each letter once."""
    said: Counter[tuple[str, str, Any]] = Counter()
    for fact in evidence.first_facts:
        if fact.context == "notifications" and fact.type in LETTERS:
            said[fact.key, LETTERS[fact.type], fact.content("template")] += 1
    for (order, asked, template), times in said.items():
        if times > 1:
            yield Finding(invariant="I16", where=order, what=f"{template} was {asked} {times} times")
        if asked == "queued" and not said[order, "answered", template]:
            yield Finding(invariant="I16", where=order, what=f"{template} was never answered")


def tickets_are_single(evidence: Evidence) -> Iterator[Finding]:
    """I16: a case of an order has one open ticket at most, of which the operator was told once."""
    is_open: dict[tuple[str, Any], bool] = {}
    said: Counter[tuple[str, Any, str]] = Counter()
    for fact in evidence.first_facts:
        if fact.context != "support" or not fact.type.startswith(("Ticket", "Operator")):
            continue
        case = fact.key, fact.content("case")
        said[*case, "opened" if fact.type == "TicketOpened" else "told" if "Told" in fact.type else "resolved"] += 1
        if fact.type in ("TicketOpened", "TicketResolved"):
            if is_open.get(case, False) is (fact.type == "TicketOpened"):
                yield Finding(invariant="I16", where=fact.key, what=f"{fact.type} twice for {case[1]}")
            is_open[case] = fact.type == "TicketOpened"
    for order, case in is_open:
        if said[order, case, "told"] != said[order, case, "opened"]:
            yield Finding(invariant="I16", where=order, what=f"the operator was not told once of each {case}")


def _by_key(evidence: Evidence, context: str) -> dict[str, list[Fact]]:
    found: dict[str, list[Fact]] = {}
    for fact in evidence.first_facts:
        if fact.context == context and aggregate_name(fact.aggregate.partition("/")[2]) not in OF_ARTICLES:
            found.setdefault(fact.key, []).append(fact)
    return found


def _statuses(evidence: Evidence, context: str, aggregate: str) -> dict[str, str]:
    return {key: state["status"] for key, state in _states(evidence, context, aggregate).items()}


def _states(evidence: Evidence, context: str, aggregate: str) -> dict[str, Any]:
    prefix = f"{aggregate}-"
    return {
        name.removeprefix(prefix): json.loads(state)
        for name, (_, state) in evidence.databases[context].aggregates.items()
        if name.startswith(prefix)
    }


def _kept_minor(evidence: Evidence) -> Counter[str]:
    kept: Counter[str] = Counter()
    for payment, reason, _, minor in evidence.books.ledger.moved:
        kept[payment] += minor if reason == "capture" else -minor
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
