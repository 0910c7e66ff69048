"""A group that cannot work as it is declared is refused when its context is loaded, with the place and the remedy."""

from datetime import timedelta
from typing import Any

import pytest
from msgspec import Struct

from shared.config.secrets import Secret, SecretUrl
from shared.mistakes.contexts import within
from shared.readside.dataflow import Aggregated, Joined, KeyBy, Lookup, Sink, Source, Window, source
from shared.readside.group import Forwards, Group, ReadSide
from shared.readside.views import Follows, On, Owner, Table


class ThingDone(Struct, frozen=True):
    """An event."""


class Row(Struct, frozen=True):
    """A row."""

    kind: str = ""


def nothing(*_: Any) -> Any:
    """A function that is never called here."""


THINGS = Table(name="things", row=Row, columns=("kind",), on=(On("here", ThingDone, nothing),))
KINDS = Table(name="kinds", row=Row, follows=Follows("things", nothing, nothing))
COUNTS = Table(name="counts", row=Row)
HEARD = source("here", ThingDone)
COUNTED = HEARD | Window(timedelta(minutes=1)) | Aggregated(Row, nothing) | Sink(COUNTS, nothing)
UNHELD = HEARD | Window(timedelta(minutes=1)) | Sink(COUNTS, nothing)
MINUTE = timedelta(minutes=1)


def forwards(*events: Source) -> Forwards:
    return Forwards(events=events, url=SecretUrl("http://there.example"), secret=Secret("x"))


def mistakes(*tables: Table, topologies: tuple[Any, ...] = (), forwarding: Forwards | None = None) -> list[str]:
    group = Group(name="all", tables=tables, topologies=topologies, forwards=forwarding)
    side = ReadSide(name="there", groups=(group,))
    return [mistake.text.removeprefix("there, group all: ") for mistake in within(side)]


def test_a_group_without_mistakes_has_none() -> None:
    looked_up = HEARD | Lookup("counts", Row, nothing, nothing)
    assert mistakes(THINGS, KINDS, topologies=(COUNTED.named("counted"), looked_up.named("looked up"))) == []


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        ((THINGS, Table(name="things", row=Row)), "two tables have the name things; give one of them another name"),
        ((Table(name="things", row=Row, columns=("size",)),), "table things: its column size is no field of Row"),
        ((KINDS,), "table kinds follows things, which the group has to declare before it"),
        (
            (THINGS, Table(name="both", row=Row, on=THINGS.on, follows=KINDS.follows)),
            "table both follows things, so its folds of events would never run",
        ),
        (
            (Table(name="things", row=Row, owner=Owner("person", "not_yours")),),
            "table things: its owner person is no field of Row",
        ),
        (
            (Table(name="things", row=Row, owner=Owner("kind", "not_yours", table="people")),),
            "table things: the table people of its owner is none of the group",
        ),
    ],
    ids=["name", "column", "follows", "both", "owner", "table of the owner"],
)
def test_a_mistake_in_a_table_is_named(tables: tuple[Table, ...], text: str) -> None:
    assert mistakes(*tables) == [text]


@pytest.mark.parametrize(
    ("topologies", "text"),
    [
        ((COUNTED,), "a topology has no name, by which its state is kept; give it one with named(…)"),
        (
            (COUNTED.named("counted"), (HEARD | KeyBy(nothing)).named("counted")),
            "two topologies have the name counted, and would share their state; give one of them another name",
        ),
        (
            (UNHELD.named("unheld"),),
            "topology unheld: a Window has to be followed by an Aggregated, which holds its values",
        ),
        (
            ((HEARD | Joined(UNHELD, MINUTE, (ThingDone, ThingDone), nothing)).named("joined"),),
            "topology joined: a Window has to be followed by an Aggregated, which holds its values",
        ),
        (
            ((HEARD | Lookup("things", Row, nothing, nothing)).named("looks"),),
            "topology looks: it looks up things, which no topology of the group writes",
        ),
    ],
    ids=["unnamed", "twice", "window", "joined", "lookup"],
)
def test_a_mistake_in_a_topology_is_named(topologies: tuple[Any, ...], text: str) -> None:
    assert mistakes(THINGS, topologies=topologies) == [text]


def test_a_group_that_forwards_has_nothing_that_a_replay_would_make_again() -> None:
    """A new database would send all its events again."""
    heard = Source("here", (ThingDone,))
    assert mistakes(forwarding=forwards(heard)) == []
    assert mistakes(THINGS, forwarding=forwards(heard)) == [
        "it forwards events, so it can have no tables, topologies or queries; declare them in another group"
    ]
    assert mistakes(forwarding=forwards()) == ["it forwards no event; name some, or leave the group out"]
