"""Finds cycles of reactions that nothing bounds.

A deadline bounds a cycle: each round waits for it. So does an event that its aggregate publishes at most once
(`Aggregate.once`).
"""

from collections.abc import Iterator, Mapping

from shared.flow.checks.finding import Finding
from shared.flow.checks.places import place_of
from shared.flow.graph import Flow, Name, Reaction


def unbounded(flow: Flow) -> Iterator[Finding]:
    """The shortest cycle through each event that is on one, each cycle once."""
    steps = _steps(flow)
    reported: set[frozenset[Name]] = set()
    for event in steps:
        cycle = _cycle(steps, event)
        if cycle and frozenset(cycle) not in reported:
            reported.add(frozenset(cycle))
            yield Finding(
                rule="cycle without a bound",
                place=place_of(steps[cycle[-1]][cycle[0]].code),
                text=f"{' leads to '.join((*cycle, cycle[0]))}, again and again",
                remedy="wait for a deadline in it, or name an event of it in `once` of its Aggregate",
            )


def _steps(flow: Flow) -> dict[Name, dict[Name, Reaction]]:
    """The events that follow from each event at once, with the reaction between them; without bounded ones."""
    once = {
        event
        for event, aggregate in flow.aggregates.items()
        if event.partition(".")[2] in {kind.__name__ for kind in aggregate.once_by}
    }
    steps: dict[Name, dict[Name, Reaction]] = {}
    for reaction in flow.reactions:
        if reaction.kind in ("policy", "call") and reaction.on not in once:
            for event in flow.following(reaction):
                if event not in once:
                    steps.setdefault(reaction.on, {}).setdefault(event, reaction)
    return steps


def _cycle(steps: Mapping[Name, Mapping[Name, Reaction]], start: Name) -> list[Name]:
    """The shortest way from an event back to itself, without the second `start`; empty when there is none."""
    came_from: dict[Name, Name] = {}
    ahead = [start]
    while ahead:
        event = ahead.pop(0)
        for following in steps.get(event, ()):
            if following == start:
                cycle = [event]
                while cycle[0] != start:
                    cycle.insert(0, came_from[cycle[0]])
                return cycle
            if following not in came_from:
                came_from[following] = event
                ahead.append(following)
    return []
