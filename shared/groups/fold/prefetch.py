"""Loads the state that a batch of events will ask for: one query for each place, whatever the batch holds.

A place whose key is that of the event is known beforehand: no `KeyBy` comes before it. The keys of windows are few, and
are loaded when they are asked for.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from shared.groups.fold.flow_state import FlowState
from shared.groups.read.intake import Heard
from shared.readside.dataflow import Aggregated, Joined, KeyBy, Source, Stage, Topology, Window

Kind = tuple[str, str]


def places_by_kind(topologies: Iterable[Topology]) -> Mapping[Kind, Sequence[str]]:
    """The places that have an entry under the key of an event, by the (context, type) of the event."""
    found: dict[Kind, list[str]] = {}
    for topology in topologies:
        for sources, place in _places(topology.name, topology.sources, topology.stages):
            for source in sources:
                for event in source.events:
                    found.setdefault((source.context, event.__name__), []).append(place)
    return found


def load(heard: Iterable[Heard], places: Mapping[Kind, Sequence[str]], state: FlowState) -> None:
    """Load the entries of these events."""
    keys: dict[str, dict[str, None]] = {}
    for event in heard:
        for place in places.get(event.kind, ()):
            keys.setdefault(place, {})[event.told.key] = None
    for place, wanted in keys.items():
        state.load(place, wanted)


def _places(name: str, sources: Sequence[Source], stages: Sequence[Stage]) -> Iterator[tuple[Sequence[Source], str]]:
    """(sources, place) as `Flowing` names the places."""
    has_event_key = True
    for number, stage in enumerate(stages):
        place = f"{name}/{number}"
        has_event_key = has_event_key and not isinstance(stage, KeyBy)
        if isinstance(stage, Joined):
            right = stage.right
            yield from _places(f"{place}r", right.sources, right.stages)
            if not any(isinstance(one, KeyBy) for one in right.stages):
                yield right.sources, place
        is_kept = isinstance(stage, Joined) or (
            isinstance(stage, Aggregated) and not (number and isinstance(stages[number - 1], Window))
        )
        if has_event_key and is_kept:
            yield sources, place
