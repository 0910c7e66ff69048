"""Finds groups of a read side that cannot work as they are declared: each mistake with its place and its remedy."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from shared.readside.dataflow import Aggregated, Joined, Lookup, Stage, Topology, Window
from shared.readside.group import Group, ReadSide
from shared.readside.views import Table


def of_groups(side: ReadSide) -> Iterator[str]:
    """Every mistake in the groups of a read side."""
    for group in side.groups:
        for text in (*_forwards(group), *_tables(group), *_topologies(group)):
            yield f"{side.name}, group {group.name}: {text}"


def _forwards(group: Group) -> Iterator[str]:
    if group.forwards is None:
        return
    if group.tables or group.topologies or group.queries:
        yield "it forwards events, so it can have no tables, topologies or queries; declare them in another group"
    if not group.forwards.events:
        yield "it forwards no event; name some, or leave the group out"


def _tables(group: Group) -> Iterator[str]:
    written = [table for topology in group.topologies for table in topology.tables]
    distinct: dict[str, Table] = {}
    for table in (*group.tables, *written):
        if distinct.setdefault(table.name, table) is not table:
            yield f"two tables have the name {table.name}; give one of them another name"
    known: set[str] = {table.name for table in group.tables if table.follows is None}
    for table in distinct.values():
        fields = {field.name for field in msgspec.structs.fields(table.row)}
        for column in (one for one in table.columns if one not in fields):
            yield f"table {table.name}: its column {column} is no field of {table.row.__name__}"
        yield from _owner(table, distinct)
    for table in (table for table in group.tables if table.follows is not None):
        assert table.follows is not None
        if table.on:
            yield f"table {table.name} follows {table.follows.table}, so its folds of events would never run"
        if table.follows.table not in known:
            yield f"table {table.name} follows {table.follows.table}, which the group has to declare before it"
        known.add(table.name)


def _owner(table: Table, tables: Mapping[str, Table]) -> Iterator[str]:
    if (owner := table.owner) is None:
        return
    named = tables.get(owner.table or table.name)
    if named is None:
        yield f"table {table.name}: the table {owner.table} of its owner is none of the group"
    elif owner.field not in {field.name for field in msgspec.structs.fields(named.row)}:
        yield f"table {table.name}: its owner {owner.field} is no field of {named.row.__name__}"


def _topologies(group: Group) -> Iterator[str]:
    names = [topology.name for topology in group.topologies]
    for name in sorted(set(names)):
        if not name:
            yield "a topology has no name, by which its state is kept; give it one with named(…)"
        elif names.count(name) > 1:
            yield f"two topologies have the name {name}, and would share their state; give one of them another name"
    written = {table.name for topology in group.topologies for table in topology.tables}
    for topology in group.topologies:
        for stages in _stages(topology):
            yield from (f"topology {topology.name}: {text}" for text in _of_stages(stages, written))


def _stages(topology: Topology) -> Iterator[Sequence[Stage]]:
    """The stages of a topology, and of each that it joins."""
    yield topology.stages
    for joined in (stage.right for stage in topology.stages if isinstance(stage, Joined)):
        yield from _stages(joined)


def _of_stages(stages: Sequence[Stage], written: set[str]) -> Iterator[str]:
    for stage, following in pairwise((*stages, None)):
        if isinstance(stage, Window) and not isinstance(following, Aggregated):
            yield "a Window has to be followed by an Aggregated, which holds its values"
        # A table that folds events is folded batch by batch: what a topology sees in it would follow from the batch.
        if isinstance(stage, Lookup) and stage.table not in written:
            yield f"it looks up {stage.table}, which no topology of the group writes"
