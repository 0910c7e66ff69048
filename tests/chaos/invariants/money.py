"""The invariants of money: taken once, given back for what does not happen or comes back, and never from nowhere."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import Evidence, Fact
from tests.chaos.finding import Finding
from tests.chaos.invariants.states import kept_minor, statuses_of, timers_armed
from tests.ledger import problems_of


def cancelled_orders_keep_no_money(evidence: Evidence) -> Iterator[Finding]:
    """I3 and I5 at rest: a cancelled order has its money back, and nothing is held but for orders that wait."""
    kept = kept_minor(evidence)
    for order, status in statuses_of(evidence, "ordering", "order").items():
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
    reservations = statuses_of(evidence, "inventory", "reservation")
    payments = statuses_of(evidence, "payments", "payment")
    held: Counter[tuple[str, str]] = Counter()
    for fact in evidence.first_facts:
        if fact.type == "OrderPlaced" and reservations.get(fact.key) == "BACKORDERED":
            total: Any = fact.content("total")
            if payments.get(fact.key) == "AUTHORIZED":
                held[str(fact.content("method_token")), total["currency"]] += total["amount_minor"]
    return held


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
    kept = kept_minor(evidence)
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
        armed = {("ordering", timer, order) for timer in ("ReturnDeadline", "NextReturnDeadline")}
        if waits and armed.isdisjoint(timers_armed(evidence)):
            yield Finding(invariant="I14", where=order, what=f"return {return_id} waits, and no timer will end that")
    for (order, sku), quantity in back.items():
        if quantity > bought[order, sku]:
            what = f"{quantity} of {sku} came back, and {bought[order, sku]} were bought"
            yield Finding(invariant="I4", where=order, what=what)
    for order, status in statuses_of(evidence, "ordering", "order").items():
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


def _key_of(idempotency_key: str) -> str:
    """The order in `payments/payment-o-42@3`."""
    return idempotency_key.rpartition("@")[0].partition("/payment-")[2]
