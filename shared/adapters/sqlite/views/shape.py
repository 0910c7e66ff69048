"""Names the shape of a group: with another one, its tables and state cannot go on, and EVENTS is folded again.

The shape has everything of a declaration but its functions: what the group hears, its tables, and the form of all that
is stored. A change of a function is told by the `version` of the group.
"""

import hashlib
from typing import Any, Final

import msgspec

from shared.readside.dataflow import Aggregated, Joined, Stage, Topology, Window
from shared.readside.group import Group
from shared.readside.views import Table

PREFIXES: Final = "1 2 3"
"""Beginnings of words with so many characters have an index. Without it, a search for `a` merges all words with an `a`,
and holds up every other query: 77 ms instead of 0.5 ms in 200,000 rows. A group folds up to 10 % fewer events a second
for it, and the index of words is twice as large (measured)."""


def shape_of(group: Group) -> str:
    """A hash of the shape."""
    shape = (group.version, [_topology(one) for one in group.topologies], [_table(one) for one in group.all_tables])
    return hashlib.blake2b(repr(shape).encode(), digest_size=16).hexdigest()


def _table(table: Table) -> Any:
    heard = sorted((on.source, on.event.__name__) for on in table.on)
    follows = None if table.follows is None else table.follows.table
    stored = (table.columns, tuple(table.lists), table.text and PREFIXES, table.bucket)
    return table.name, heard, follows, stored, _form(table.row)


def _topology(topology: Topology) -> Any:
    heard = sorted((source.context, event.__name__) for source in topology.sources for event in source.events)
    return topology.name, heard, [_stage(stage) for stage in topology.stages]


def _stage(stage: Stage) -> Any:
    named = type(stage).__name__
    match stage:
        case Window(size, grace):
            return named, size, grace
        case Aggregated(initial):
            return named, _form(initial)
        case Joined(right, within, types):
            return named, _topology(right), within, [_form(one) for one in types]
        case _:
            return named


def _form(stored: Any) -> Any:
    """The form of what is stored as JSON, with that of everything in it."""
    return _without_words(msgspec.json.schema(stored))


def _without_words(schema: Any) -> Any:
    """A schema without what is written for people."""
    if isinstance(schema, dict):
        words = {name for name in ("description", "title") if isinstance(schema.get(name), str)}
        return {name: _without_words(value) for name, value in schema.items() if name not in words}
    return [_without_words(one) for one in schema] if isinstance(schema, list) else schema
