"""Draws the read side: for each group its tables, and its topologies stage by stage, as text or as Mermaid."""

from collections.abc import Iterable, Iterator
from functools import partial

from shared.config.units import format_duration
from shared.readside.dataflow import (
    Aggregated,
    Filter,
    Joined,
    KeyBy,
    Lookup,
    Map,
    Says,
    Sink,
    Source,
    Stage,
    Topology,
    Window,
)
from shared.readside.group import Group, ReadSide, place_of
from shared.readside.views import Table


def as_text(sides: Iterable[ReadSide]) -> Iterator[str]:
    """Each table and topology of each group, a stage a line."""
    for side in sides:
        for group in side.groups:
            yield f"{side.name}, group {group.name}"
            for table in group.tables:
                yield f"  table {table.name}{' (and bucket)' if table.bucket else ''}"
                yield f"    from {read_by(table)}"
            for topology in group.topologies:
                yield f"  topology {topology.name}"
                yield from (f"    {line}" for line in stages_of(topology))


def stages_of(topology: Topology) -> Iterator[str]:
    """The sources of a topology, and then a line for each stage."""
    yield _sources(topology.sources)
    yield from (f"| {_spelled(stage)}" for stage in topology.stages)


def as_mermaid(sides: Iterable[ReadSide]) -> Iterator[str]:
    """A flowchart with a subgraph for each group."""
    yield "flowchart LR"
    for side in sides:
        for group in side.groups:
            name = place_of(side.name, group.name)
            yield f'  subgraph {name}["{side.name}: {group.name}"]'
            yield from _charted(name, group)
            yield "  end"


def _charted(name: str, group: Group) -> Iterator[str]:
    for table in group.tables:
        yield f'    {name}_{table.name}[("{table.name}")]'
    for topology in group.topologies:
        first = f"{name}_{topology.name}"
        nodes = [_sources(topology.sources), *map(_spelled, topology.stages)]
        spelled = (f'{first}_{number}["{text}"]' for number, text in enumerate(nodes))
        yield f"    {' --> '.join(spelled)}"


def read_by(table: Table) -> str:
    """The events, or the table, from which a table follows."""
    if table.follows is not None:
        return f"the rows of {table.follows.table}"
    return ", ".join(f"{on.source}.{on.event.__name__}" for on in table.on)


def _sources(sources: Iterable[Source]) -> str:
    return "source " + ", ".join(f"{one.context}.{event.__name__}" for one in sources for event in one.events)


def _spelled(stage: Stage) -> str:
    match stage:
        case Filter(kept):
            return f"filter {_name(kept)}"
        case Map(change):
            return f"map {_name(change)}"
        case KeyBy(key):
            return f"key by {_name(key)}"
        case Window(size, grace):
            return f"window tumbling {format_duration(size)}, grace {format_duration(grace)}"
        case Aggregated(initial, fold):
            return f"aggregate {initial.__name__} by {_name(fold)}"
        case Joined():
            return f"join {_joined(stage.right)} within {format_duration(stage.within)}"
        case Lookup(table):
            return f"lookup {table}"
        case Says():
            return f"says {stage.type.__name__}"
        case Sink(table):
            return f"sink {table.name}"


def _joined(right: Topology) -> str:
    return " | ".join([_sources(right.sources), *map(_spelled, right.stages)])


def _name(function: object) -> str:
    while isinstance(function, partial):
        function = function.func
    name = str(getattr(function, "__name__", type(function).__name__))
    return "a function" if name == "<lambda>" else name
