"""The invariants of goods: the stock adds up, and every unit that is promised is owed to one order."""

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from tests.chaos.evidence import Evidence
from tests.chaos.finding import Finding
from tests.chaos.invariants.states import by_key, states_of, statuses_of, timers_armed

ENDS_OF_RESERVATIONS = ("InventoryReleased", "InventoryRejected", "StockCommitted", "StockWrittenOff")
Movement: TypeAlias = tuple[str, str, int]
"""A SKU, what moved, and by how much it changed the count."""


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


def reservations_are_settled(evidence: Evidence) -> Iterator[Finding]:
    """I15: a reservation is consumed, released or rejected once; an open one belongs to an open order."""
    orders = statuses_of(evidence, "ordering", "order")
    for order, status in statuses_of(evidence, "inventory", "reservation").items():
        if status == "RESERVED" and orders.get(order) not in ("PENDING", "CONFIRMED"):
            yield Finding(invariant="I15", where=order, what=f"is {orders.get(order)}, and its goods are reserved")
        if status == "BACKORDERED" and orders.get(order) != "PENDING":
            yield Finding(invariant="I15", where=order, what=f"is {orders.get(order)}, and waits for stock")
    for order, facts in by_key(evidence, "inventory").items():
        said = Counter(fact.type for fact in facts)
        for end in ("InventoryReserved", *ENDS_OF_RESERVATIONS):
            if said[end] > 1:
                yield Finding(invariant="I15", where=order, what=f"{end} is said {said[end]} times")


def nobody_waits_for_units_that_are_there(evidence: Evidence) -> Iterator[Finding]:
    """I15: a backorder stands once in the queue of each of its SKUs, lacks units, and will expire."""
    items = states_of(evidence, "inventory", "stock")
    armed = timers_armed(evidence)
    places = {
        (sku, waiting["order_id"], waiting["quantity"]) for sku, item in items.items() for waiting in item["waiting"]
    }
    wanted = set()
    for order, state in states_of(evidence, "inventory", "reservation").items():
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
