"""The invariants of letters and tickets: a customer has each letter once, and an operator each case."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tests.chaos.evidence import Evidence
from tests.chaos.finding import Finding

LETTERS = {"NotificationQueued": "queued", "CustomerNotified": "answered", "NotificationFailed": "answered"}
"""The events that count a letter. One that waits for an address may be withdrawn, and held again."""


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
