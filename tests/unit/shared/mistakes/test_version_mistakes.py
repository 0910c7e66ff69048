"""Upcasters that cannot work, and older events that nobody could read, are found when the contexts are loaded."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from msgspec import Struct

from shared.context import Aggregate, Context, Decider, Policy, Upcaster
from shared.mistakes.contexts import between, within


class Ask(Struct, frozen=True, kw_only=True):
    key: str


class Asked(Struct, frozen=True, kw_only=True):
    key: str
    size: int


class Asked1(Struct, frozen=True, kw_only=True):
    key: str


class State(Struct, frozen=True, kw_only=True):
    pass


def nothing(*said: Any) -> tuple[()]:
    del said
    return ()


def sized(event: Asked1, occurred_at: datetime) -> Asked:
    del occurred_at
    return Asked(key=event.key, size=0)


THING = Aggregate(name="thing", key="key", state=State, events=(Asked,), evolve=nothing)
OWN = Upcaster(event=Asked, older=Asked1, until=1, upcast=sized)
HEARD = replace(OWN, source="here")
HERE = Context(
    name="here",
    deciders=(Decider(aggregate=THING, commands=(Ask,), decide=nothing),),
    schema_version=2,
    upcasters=(OWN,),
)
THERE = Context(name="there", deciders=(), policies=(Policy("here", Asked, nothing),), upcasters=(HEARD,))


def problems_of(*contexts: Context) -> list[str]:
    own = [mistake.text for context in contexts for mistake in within(context)]
    return own + [mistake.text for mistake in between({context.name: context for context in contexts})]


def test_a_writer_and_a_reader_with_their_upcasters_fit() -> None:
    assert problems_of(HERE, THERE) == []


@pytest.mark.parametrize(
    ("context", "problem"),
    [
        (replace(HERE, schema_version=1), "events of today have version 1; raise Context.schema_version"),
        (replace(HERE, upcasters=(OWN, OWN)), "is declared twice: remove one"),
        (replace(HERE, upcasters=(replace(OWN, until=0),)), "versions begin with 1"),
        (replace(HERE, upcasters=(replace(OWN, event=Asked1),)), "is for no event of its aggregates"),
        (replace(HERE, upcasters=(replace(OWN, source="here"),)), "names its own context as the source"),
        (replace(THERE, policies=()), "is for no event that it hears"),
        (replace(THERE, upcasters=(replace(HEARD, source="elsewhere"),)), "is for no event that it hears"),
    ],
)
def test_an_upcaster_that_cannot_work_is_named_with_the_remedy(context: Context, problem: str) -> None:
    found = [mistake.text for mistake in within(context)]
    assert any(problem in text for text in found), found


def test_a_reader_that_needs_a_new_field_and_has_no_upcaster_is_found_before_it_parks_old_events() -> None:
    assert problems_of(HERE, replace(THERE, upcasters=())) == [
        "there cannot read here.Asked up to version 1: $.size is not written: read another field, or give it a default,"
        " or declare an Upcaster"
    ]


def test_a_reader_that_does_not_need_the_new_field_declares_nothing() -> None:
    view: type[Struct] = type("Asked", (Struct,), {"__annotations__": {"key": str}})
    assert problems_of(HERE, replace(THERE, policies=(Policy("here", view, nothing),), upcasters=())) == []


def test_a_version_that_the_writer_never_ended_is_found() -> None:
    (found,) = problems_of(HERE, replace(THERE, upcasters=(HEARD, replace(HEARD, until=7))))
    assert found == "there: here changed Asked after no version 7; name the last version of its upcaster"
