"""Derives the context map: which context depends on which, by which pattern of domain-driven design, and in which file.

An event is published language: its publisher declares it for everybody. A reader keeps its own copy with only the
fields it needs, which is its anticorruption layer. A context that answers requests is an
open host, which others ask through an effect.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from shared.flow.graph import Flow


class Relation(NamedTuple):
    """`upstream` is depended upon by `downstream`; `through` are its events, or the calls that ask it."""

    upstream: str
    downstream: str
    pattern: str
    through: tuple[str, ...]
    files: tuple[str, ...]


def relations(flow: Flow, place: Callable[[str, str], str]) -> Iterator[Relation]:
    """Every relation between contexts; `place(context, file)` names a file of a context."""
    events: dict[tuple[str, str], dict[str, None]] = {}
    calls: dict[tuple[str, str], dict[str, None]] = {}
    for reaction in flow.reactions:
        source, _, event = reaction.on.partition(".")
        if reaction.kind == "policy" and source != reaction.context:
            events.setdefault((source, reaction.context), {})[event] = None
        for service in reaction.asks:
            calls.setdefault((service, reaction.context), {})[reaction.name] = None
    for (upstream, downstream), through in sorted(events.items()):
        yield Relation(
            upstream,
            downstream,
            "published language, with an anticorruption layer",
            tuple(through),
            (place(upstream, "events.py"), place(downstream, "upstream.py")),
        )
    for (upstream, downstream), through in sorted(calls.items()):
        yield Relation(
            upstream,
            downstream,
            "open-host service, with an anticorruption layer",
            tuple(through),
            (place(upstream, "worker.py"), place(downstream, "effects.py")),
        )
