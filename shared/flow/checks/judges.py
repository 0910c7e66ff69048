"""Finds races that have two judges: ends of one saga between which no single aggregate decides.

Two ends exclude each other when one aggregate publishes another event in each: an aggregate has one history.
"""

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from shared.flow.checks.finding import Finding
from shared.flow.checks.places import place_in
from shared.flow.graph import Flow, Name
from shared.saga import End, Saga


def several(flow: Flow, saga: Saga, file: Path | None) -> Iterator[Finding]:
    """Pairs of ends that no aggregate decides between."""
    for one, other in combinations(saga.ends, 2):
        first, second = _said_by(flow, one), _said_by(flow, other)
        if not any(first[judge] != second[judge] for judge in first.keys() & second.keys()):
            judges = " and ".join(dict.fromkeys((*first, *second)))
            yield Finding(
                rule="two judges of one race",
                place=place_in(file, saga, other.name),
                text=f"the saga {saga.name} can end both as {one.name!r} and as {other.name!r}: {judges} decide, each"
                " for itself",
                remedy="let one aggregate publish an event of its own in each of the two ends",
            )


def _said_by(flow: Flow, end: End) -> dict[str, set[Name]]:
    """The events of an end, by the aggregate that publishes them."""
    decided: dict[str, set[Name]] = {}
    for event in end.events:
        context = event.partition(".")[0]
        decided.setdefault(f"{context}'s {flow.aggregates[event].name}", set()).add(event)
    return decided
