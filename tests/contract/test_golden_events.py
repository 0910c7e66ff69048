"""A published event only grows: every field that it had on the wire, it still has."""

import json

import pytest
from msgspec import Struct

from shared.context import Context, Member
from tests.contract.declared import contexts
from tests.contract.examples import examples
from tests.contract.golden import COMMAND, GOLDEN, keeps, newest, published, said_again, versions

PUBLISHED = list(published(contexts()))
NAMES = [f"{context.name}.{event.__name__}" for context, event in PUBLISHED]


@pytest.mark.parametrize(("context", "event"), PUBLISHED, ids=NAMES)
def test_every_published_event_has_its_golden_example(context: Member, event: type[Struct]) -> None:
    assert newest(context, event).exists(), f"{COMMAND}   # then tell it in CHANGELOG.md, under On the wire"


@pytest.mark.parametrize(("context", "event"), PUBLISHED, ids=NAMES)
def test_an_event_still_says_what_it_once_said(context: Member, event: type[Struct]) -> None:
    for path in versions(context.name, event.__name__):
        now, before = said_again(path, context, event), json.loads(path.read_bytes())
        assert keeps(now, before), f"{path.name}: a changed meaning is a new name"


@pytest.mark.parametrize(("context", "event"), PUBLISHED, ids=NAMES)
def test_the_golden_example_has_every_field(context: Member, event: type[Struct]) -> None:
    if not newest(context, event).exists():
        pytest.skip("it has no golden example yet, of which another check tells")
    path = newest(context, event)
    grown = f"grown: {COMMAND}   # then tell it in CHANGELOG.md"
    assert said_again(path, context, event) == json.loads(path.read_bytes()), grown


def test_no_event_was_renamed_or_taken_away() -> None:
    golden = {f"{path.parent.name}.{path.name.split('.')[0]}" for path in GOLDEN.glob("*/*.json")}
    assert golden - set(NAMES) == set()


@pytest.mark.parametrize(("context", "event"), PUBLISHED, ids=NAMES)
def test_an_event_names_the_key_of_its_subject(context: Member, event: type[Struct]) -> None:
    if isinstance(context, Context):
        keys = [aggregate.key for aggregate in context.aggregates if event in aggregate.events]
    else:
        keys = [says.key for group in context.groups for says in group.says if says.type is event]
    assert all(key in examples(event)[0] for key in keys), context.name


def test_a_lost_field_and_a_changed_one_are_noticed() -> None:
    assert keeps({"a": 1, "b": [{"c": 2, "d": 3}]}, {"a": 1, "b": [{"c": 2}]})
    assert not keeps({"b": []}, {"a": 1, "b": []})
    assert not keeps({"a": 2}, {"a": 1})
    assert not keeps({"b": [{"c": 2}, {"c": 3}]}, {"b": [{"c": 2}]})
