"""A group folds EVENTS again when it hears or stores something else, and not when only words or functions changed."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Struct, defstruct

from shared.adapters.sqlite.views.shape import shape_of
from shared.readside.dataflow import Aggregated, Joined, Sink, Topology, Window, source
from shared.readside.group import Group
from shared.readside.views import On, Table


class ThingDone(Struct, frozen=True):
    """An event."""


class ThingUndone(Struct, frozen=True):
    """Another event."""


class Part(Struct, frozen=True):
    """A part of a row."""

    title: str = ""


class Row(Struct, frozen=True):
    """A row."""

    part: Part


def nothing(*_: Any) -> Any:
    """A function that is never called here."""


def row_with(part: type[Struct]) -> type[Struct]:
    return defstruct("Row", [("part", part)], frozen=True)


MINUTE = timedelta(minutes=1)
THINGS = Table(name="things", row=Row, on=(On("here", ThingDone, nothing),))
COUNTS = Table(name="counts", row=Row)


def counted(
    size: timedelta = MINUTE, kept: type[Struct] = Part, within: timedelta = MINUTE, *events: type[Struct]
) -> Topology:
    joined = Joined(source("here", ThingUndone), within, (ThingDone, ThingUndone), nothing)
    heard = source("here", ThingDone, *events)
    return (heard | joined | Window(size) | Aggregated(kept, nothing) | Sink(COUNTS, nothing)).named("counted")


GROUP = Group(name="all", tables=(THINGS,), topologies=(counted(),))


@pytest.mark.parametrize(
    "other",
    [
        replace(GROUP, version=2),
        replace(GROUP, tables=(replace(THINGS, on=(*THINGS.on, On("here", ThingUndone, nothing))),)),
        replace(GROUP, tables=(replace(THINGS, row=row_with(defstruct("Part", [("size", int, 0)]))),)),
        replace(GROUP, topologies=(counted(2 * MINUTE),)),
        replace(GROUP, topologies=(counted(MINUTE, Row),)),
        replace(GROUP, topologies=(counted(MINUTE, Part, 2 * MINUTE),)),
        replace(GROUP, topologies=(counted(MINUTE, Part, MINUTE, ThingUndone),)),
    ],
    ids=["version", "event of a table", "field within a field", "window", "aggregate", "join", "event of a topology"],
)
def test_something_else_that_is_heard_or_stored_is_another_shape(other: Group) -> None:
    assert shape_of(other) != shape_of(GROUP)


def test_other_words_and_functions_are_the_same_shape() -> None:
    described = row_with(defstruct("Part", [("title", str, "")], namespace={"__doc__": "Other words."}))
    others = replace(THINGS, row=described, on=(On("here", ThingDone, lambda row, _, __: row),))
    assert shape_of(replace(GROUP, tables=(others,))) == shape_of(GROUP)
