from dataclasses import replace
from typing import Any

import pytest
from msgspec import Struct

from shared.catalog import CatalogError, load, names, problems
from shared.config.settings import Settings
from shared.context import Aggregate, Context, Decider, Policy, Timer
from shared.wire.engine_events import CommandRejected
from shared.wire.messages import check_message_id, longest_id


class Ask(Struct, frozen=True, kw_only=True):
    key: str


class Asked(Struct, frozen=True, kw_only=True):
    key: str


class Askked(Struct, frozen=True, kw_only=True):
    key: str


class Nameless(Struct, frozen=True, kw_only=True):
    key: str


class RejectedHere(CommandRejected, frozen=True, kw_only=True):
    pass


RejectedHere.__name__ = "CommandRejected"


def nothing(*_: Any) -> Any:
    return ()


THING = Aggregate(name="thing", key="key", state=Nameless, events=(Asked,), evolve=nothing)
HERE = Context(name="here", deciders=(Decider(aggregate=THING, commands=(Ask,), decide=nothing),), accepts=(Ask,))
THERE = Context(
    name="there", deciders=(), policies=(Policy("here", Asked, nothing), Policy("here", RejectedHere, nothing))
)


def problems_of(*contexts: Context) -> tuple[str, ...]:
    return problems({context.name: context for context in contexts})


def test_contexts_that_fit_together_have_no_problems() -> None:
    assert problems_of(HERE, THERE) == ()


def test_what_is_heard_is_said_by_somebody() -> None:
    assert problems_of(THERE) == (
        "there hears here.Asked, but there is no context 'here' (did you mean 'there'?)",
        "there hears here.CommandRejected, but there is no context 'here' (did you mean 'there'?)",
    )
    deaf = replace(THERE, policies=(Policy("here", Askked, nothing), Policy("here", Nameless, nothing)))
    assert problems_of(HERE, deaf) == (
        "there hears here.Askked, which here never says (did you mean 'Asked'?)",
        "there hears here.Nameless, which here never says",
    )


def test_an_event_has_one_publisher() -> None:
    assert problems_of(HERE, replace(HERE, name="also")) == (
        "Asked is published by also and here; an event has one publisher",
    )


def test_an_accepted_command_is_answered() -> None:
    assert problems_of(replace(HERE, accepts=(Ask, Nameless))) == (
        "here accepts Nameless, which none of its deciders answers",
    )


def test_names_fit_into_subjects_and_stand_once() -> None:
    timer = Timer(name="too.late", armed_by=Asked, at=nothing, whenever_due=nothing)
    assert problems_of(replace(HERE, timers=(timer, timer))) == (
        "here uses the name too.late twice",
        "here: 'too.late' is not a name: use a letter, then letters and digits, 64 at the most",
    )


def test_the_longest_id_that_names_lead_to_is_one_that_a_message_may_have() -> None:
    name = "a" * 64
    decider = Decider(aggregate=replace(THING, name="b" * 64), commands=(Ask,), decide=nothing)
    timer = Timer(name="c" * 64, armed_by=Asked, at=nothing, whenever_due=nothing)
    long = replace(HERE, name=name, deciders=(decider,))
    assert problems_of(long) == ()
    check_message_id(longest_id(name, "b" * 64, has_parts=False))
    (problem,) = problems_of(replace(long, timers=(timer,)))
    said = "or of its timers, can have 282 characters, and 255 are the most; shorten the context"
    assert said in problem
    parts = replace(decider, aggregate=replace(decider.aggregate, part="key"))
    (problem,) = problems_of(replace(long, deciders=(parts,)))
    assert said in problem
    with pytest.raises(ValueError, match="1 to 255"):
        check_message_id(longest_id(name, "b" * 64, has_parts=True))


def test_names_of_aggregates_can_be_read_from_their_ids() -> None:
    decider = Decider(aggregate=replace(THING, name="no-name"), commands=(Ask,), decide=nothing)
    assert problems_of(replace(HERE, deciders=(decider,))) == (
        "here: 'no-name' is not a name: use a letter, then letters and digits, 64 at the most",
    )


@pytest.mark.parametrize("name", names())
def test_every_context_of_the_shop_is_found_under_its_name(name: str) -> None:
    assert load(name, Settings()).name == name


def test_a_context_that_does_not_exist_is_told_with_those_that_do() -> None:
    with pytest.raises(CatalogError, match=r"no context 'paymets' \(did you mean 'payments'\?\); there are bank, "):
        load("paymets", Settings())
