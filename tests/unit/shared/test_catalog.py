from dataclasses import replace
from typing import Any

import pytest
from msgspec import Struct

from shared.catalog import CatalogError, load, load_member, names
from shared.config.settings import Settings
from shared.context import Aggregate, Context, Decider, Effect, Endpoint, Policy, Timer
from shared.mistakes.contexts import between, within
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
    found = {context.name: context for context in contexts}
    return tuple(text for context in contexts for _, text in within(context)) + tuple(
        text for _, text in between(found)
    )


def test_contexts_that_fit_together_have_no_problems() -> None:
    assert problems_of(HERE, THERE) == ()


def test_what_is_heard_is_said_by_somebody() -> None:
    assert problems_of(THERE) == (
        "there hears here.Asked, but there is no context 'here' (did you mean 'there'?)",
        "there hears here.CommandRejected, but there is no context 'here' (did you mean 'there'?)",
    )
    deaf = replace(THERE, policies=(Policy("here", Askked, nothing), Policy("here", Nameless, nothing)))
    assert problems_of(HERE, deaf) == (
        "there hears here.Askked, which here never publishes (did you mean 'Asked'?)",
        "there hears here.Nameless, which here never publishes",
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


def test_parts_of_one_key_do_not_share_a_deadline() -> None:
    decider = Decider(aggregate=replace(THING, part="key"), commands=(Ask,), decide=nothing)
    timer = Timer(name="TooLate", armed_by=Asked, at=nothing, whenever_due=nothing)
    (problem,) = problems_of(replace(HERE, deciders=(decider,), timers=(timer,)))
    assert problem == (
        "here: the timer TooLate is armed by Asked of the aggregate thing, which has parts: a key has one deadline of"
        " each name, so each part would replace that of another; arm it by an event of an aggregate without parts"
    )


def test_names_of_aggregates_can_be_read_from_their_ids() -> None:
    decider = Decider(aggregate=replace(THING, name="no-name"), commands=(Ask,), decide=nothing)
    assert problems_of(replace(HERE, deciders=(decider,))) == (
        "here: 'no-name' is not a name: use a letter, then letters and digits, 64 at the most",
    )


class Kept(Struct, frozen=True, kw_only=True):
    thing_id: str


def gives_kept(_: Any) -> list[Kept]:
    return []


async def keeps(_: Any, __: Any) -> Kept:
    return Kept(thing_id="k-1")


PLACE = "tests.unit.shared.test_catalog"


def test_a_key_or_part_is_a_field_of_every_command_and_event() -> None:
    thing = replace(THING, key="keys", part="part", events=(Asked,))
    decider = Decider(aggregate=thing, commands=(Ask,), decide=nothing)
    assert problems_of(replace(HERE, deciders=(decider,))) == (
        f"{PLACE}.Ask has no field 'keys', the key of here's aggregate thing (did you mean 'key'?): add the field,"
        " or fix Aggregate.key",
        f"{PLACE}.Ask has no field 'part', the part of here's aggregate thing: add the field, or fix Aggregate.part",
        f"{PLACE}.Asked has no field 'keys', the key of here's aggregate thing (did you mean 'key'?): add the field,"
        " or fix Aggregate.key",
        f"{PLACE}.Asked has no field 'part', the part of here's aggregate thing: add the field, or fix Aggregate.part",
    )


def test_what_a_policy_and_a_timer_give_is_answered() -> None:
    timer = Timer(name="Late", armed_by=Asked, at=nothing, whenever_due=gives_kept)
    giving = replace(HERE, policies=(Policy("here", Asked, gives_kept),), timers=(timer,))
    unanswered = f"{PLACE}.gives_kept gives Kept, which no decider of here answers: add it to the commands of a Decider"
    assert problems_of(giving) == (unanswered, unanswered)


def test_a_policy_that_does_not_say_what_it_gives_cannot_be_checked() -> None:
    assert (
        problems_of(replace(HERE, policies=(Policy("here", Asked, nothing), Policy("here", Asked, lambda _: ())))) == ()
    )


def test_an_outcome_of_an_effect_is_answered() -> None:
    effect = Effect(asked_by=Asked, call=keeps, outcomes=(Kept,))
    assert problems_of(replace(HERE, effects=(effect,))) == (
        f"{PLACE}.keeps: Kept is an outcome of Asked, which no decider of here answers: add it to the commands of a"
        " Decider",
    )


def asks_kept(_: Any) -> Kept:
    return Kept(thing_id="k-1")


def test_an_endpoint_has_a_subject_of_its_context_and_a_command_that_is_answered() -> None:
    endpoint = Endpoint(subject="svc.there.ask", request=Ask, asks=asks_kept, answer=nothing)
    assert problems_of(replace(HERE, endpoints=(endpoint, endpoint), lookup="svc.here.look.up")) == (
        "here answers svc.there.ask twice",
        "here answers 'svc.there.ask': write svc.here.OPERATION",
        "here answers 'svc.here.look.up': write svc.here.OPERATION",
        *2 * (f"{PLACE}.asks_kept asks Kept, which no decider of here answers: add it to the commands of a Decider",),
    )


def test_timers_and_effects_wait_for_events_of_their_own_context() -> None:
    timer = Timer(name="Late", armed_by=Askked, at=nothing, whenever_due=nothing)
    effect = Effect(asked_by=Nameless, call=keeps, outcomes=())
    assert problems_of(replace(HERE, timers=(timer,), effects=(effect,))) == (
        "here: the timer Late waits for Askked, which none of its aggregates publishes (did you mean 'Asked'?): add the"
        " event to an Aggregate, or name one of this context's own",
        f"here: the effect {PLACE}.keeps waits for Nameless, which none of its aggregates publishes: add the event to"
        " an Aggregate, or name one of this context's own",
    )


class AskedAsNumber(Struct, frozen=True, kw_only=True):
    key: int


AskedAsNumber.__name__ = "Asked"


def test_what_is_written_can_be_read() -> None:
    assert problems_of(HERE, replace(THERE, policies=(Policy("here", AskedAsNumber, nothing),))) == (
        f"{PLACE}.AskedAsNumber cannot read what here writes: $.key may be str and is read as int: widen its type",
    )


def test_nothing_is_said_of_what_is_heard_from_a_context_that_did_not_load() -> None:
    assert between({"there": THERE}, frozenset({"here"})) == ()


@pytest.mark.parametrize("name", names())
def test_every_context_of_the_shop_is_found_under_its_name(name: str) -> None:
    assert load_member(name, Settings()).name == name


def test_a_context_that_does_not_exist_is_reported_with_those_that_do() -> None:
    with pytest.raises(CatalogError, match=r"no context 'paymets' \(did you mean 'payments'\?\); there are bank, "):
        load("paymets", Settings())
