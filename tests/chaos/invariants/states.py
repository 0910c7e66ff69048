"""Reads the evidence of a shop as the invariants ask for it: by order, by state, by payment, by timer."""

import json
from collections import Counter
from typing import Any, Final

from shared.wire.messages import aggregate_name
from shared.wire.streams import TIMERS
from tests.chaos.evidence import Evidence, Fact

OF_ARTICLES: Final = ("stock", "movement", "price", "shelf")
"""The aggregates whose key is a SKU; the key of every other is an order."""


def by_key(evidence: Evidence, context: str) -> dict[str, list[Fact]]:
    """The events of a context by order, those about articles left out."""
    found: dict[str, list[Fact]] = {}
    for fact in evidence.first_facts:
        if fact.context == context and aggregate_name(fact.aggregate.partition("/")[2]) not in OF_ARTICLES:
            found.setdefault(fact.key, []).append(fact)
    return found


def statuses_of(evidence: Evidence, context: str, aggregate: str) -> dict[str, str]:
    """The status of each aggregate of a kind, by key."""
    return {key: state["status"] for key, state in states_of(evidence, context, aggregate).items()}


def states_of(evidence: Evidence, context: str, aggregate: str) -> dict[str, Any]:
    """The snapshot of each aggregate of a kind, by key."""
    prefix = f"{aggregate}-"
    return {
        name.removeprefix(prefix): json.loads(state)
        for name, (_, state) in evidence.databases[context].aggregates.items()
        if name.startswith(prefix)
    }


def kept_minor(evidence: Evidence) -> Counter[str]:
    """The money of each payment that is here, in minor units."""
    kept: Counter[str] = Counter()
    for payment, reason, _, minor in evidence.books.ledger.moved:
        kept[payment] += minor if reason == "capture" else -minor
    return kept


def timers_armed(evidence: Evidence) -> set[tuple[str, str, str]]:
    """(context, timer, key) of every timer that will come due."""
    subjects = [stored.subject.split(".") for stored in evidence.streams[TIMERS]]
    return {
        (context, timer, key) for kind, context, timer, key in (s for s in subjects if len(s) == 4) if kind == "timer"
    }
