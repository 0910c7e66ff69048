"""Finds contexts of a system that do not fit together: each mistake with its place and its remedy.

A policy or timer whose function has no return annotation, or one that names no command, cannot be checked: which
commands it gives is then only known when it runs.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import Struct

from shared.config.spelling import did_you_mean
from shared.context import Aggregate, Command, Context, Member
from shared.derived.return_types import command_of, commands_of
from shared.mistakes.compatibility import incompatible_fields
from shared.mistakes.groups import of_groups
from shared.mistakes.versions import of_older_events, of_upcasters, reads_of
from shared.readside.group import ReadSide
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import MESSAGE_ID_LENGTH_AT_MOST, check_name, longest_id

ENGINE_EVENT_NAMES = {event.__name__ for event in ENGINE_EVENTS}


class Mistake(NamedTuple):
    """A mistake of one context."""

    context: str
    text: str


def within(member: Member) -> tuple[Mistake, ...]:
    """Find the mistakes within one context or read side, without the others."""
    if isinstance(member, ReadSide):
        texts = [*_misnamed(member.name, ([member.name], [event.__name__ for event in member.publishes]))]
        return tuple(Mistake(member.name, text) for text in (*texts, *of_groups(member)))
    texts = [
        *_names_of(member),
        *_ids_of(member),
        *_keys_of(member),
        *_commands_of(member),
        *_endpoints_of(member),
        *_askers_of(member),
        *_listed_of(member),
        *_deadlines_of(member),
        *of_upcasters(member),
    ]
    return tuple(Mistake(member.name, text) for text in texts)


def between(contexts: Mapping[str, Member], absent: frozenset[str] = frozenset()) -> tuple[Mistake, ...]:
    """Find the mistakes between contexts; events of `absent` contexts are not checked."""
    versions = (Mistake(name, text) for name, text in of_older_events(contexts))
    return (*_publishers(contexts), *_heard(contexts, absent), *versions)


def _names_of(context: Context) -> Iterator[str]:
    name = context.name
    kinds = (
        [name],
        [command.__name__ for command in context.accepts],
        [event.__name__ for event in context.publishes],
        [timer.name for timer in context.timers],
        [aggregate.name for aggregate in context.aggregates],
    )
    yield from _misnamed(name, kinds)


def _misnamed(name: str, kinds: Iterable[list[str]]) -> Iterator[str]:
    """Names that are used twice, that are the engine's own, or that no subject can carry."""
    for words in kinds:
        for word in sorted(set(words)):
            if words.count(word) > 1:
                yield f"{name} uses the name {word} twice"
            if word in ENGINE_EVENT_NAMES:
                yield f"{name} uses the name {word}, which is the engine's own event in every context"
            try:
                check_name(word)
            except ValueError as error:
                yield f"{name}: {error}"


def _ids_of(context: Context) -> Iterator[str]:
    """Names that lead to message ids which no consumer accepts, because they are too long."""
    for aggregate in context.aggregates:
        armed = [timer.name for timer in context.timers if timer.armed_by in aggregate.events]
        has_parts = aggregate.part is not None
        longest = max(
            len(longest_id(context.name, aggregate.name, has_parts=has_parts, timer=timer)) for timer in ("", *armed)
        )
        if longest > MESSAGE_ID_LENGTH_AT_MOST:
            yield (
                f"{context.name}: an id of a {aggregate.name}, or of its timers, can have {longest} characters, and"
                f" {MESSAGE_ID_LENGTH_AT_MOST} are the most; shorten the context's, the aggregate's or the timer's name"
            )


def _keys_of(context: Context) -> Iterator[str]:
    """Keys and parts that a command or an event does not have."""
    for decider in context.deciders:
        for command in decider.commands:
            yield from _without_key(context, decider.aggregate, command)
    for aggregate in context.aggregates:
        for event in aggregate.events:
            yield from _without_key(context, aggregate, event)


def _without_key(context: Context, aggregate: Aggregate, message: type[Struct]) -> Iterator[str]:
    for kind, field in (("key", aggregate.key), ("part", aggregate.part)):
        if field is not None and not hasattr(message, field):
            meant = did_you_mean(field, message.__struct_fields__)
            whose = f"the {kind} of {context.name}'s aggregate {aggregate.name}"
            yield f"{_place(message)} has no field {field!r}, {whose}{meant}: add the field, or fix Aggregate.{kind}"


def _commands_of(context: Context) -> Iterator[str]:
    """Commands that are accepted or given and that no decider answers."""
    for command in context.accepts:
        if command not in _answered(context):
            yield f"{context.name} accepts {command.__name__}, which none of its deciders answers"
    given = [policy.whenever for policy in context.policies] + [timer.whenever_due for timer in context.timers]
    for whenever in given:
        for command in commands_of(whenever) or ():
            if command not in _answered(context):
                yield f"{_place(whenever)} gives {command.__name__}, {_unanswered(context, command)}"
    for effect in context.effects:
        for command in effect.outcomes:
            if command not in _answered(context):
                outcome = f"{command.__name__} is an outcome of {effect.asked_by.__name__}"
                yield f"{_place(effect.call)}: {outcome}, {_unanswered(context, command)}"


def _endpoints_of(context: Context) -> Iterator[str]:
    """Endpoints on a subject that is not this context's, or that another one has, and commands without a decider."""
    subjects = [endpoint.subject for endpoint in context.endpoints] + [context.lookup] * bool(context.lookup)
    for subject in dict.fromkeys(subjects):
        if subjects.count(subject) > 1:
            yield f"{context.name} answers {subject} twice"
        if re.fullmatch(rf"svc\.{context.name}\.[A-Za-z0-9_-]+", subject) is None:
            yield f"{context.name} answers {subject!r}: write svc.{context.name}.OPERATION"
    for endpoint in context.endpoints:
        command = command_of(endpoint.asks)
        if command is not None and command not in _answered(context):
            yield f"{_place(endpoint.asks)} asks {command.__name__}, {_unanswered(context, command)}"


def _askers_of(context: Context) -> Iterator[str]:
    """Timers and effects that wait for an event that the context does not publish."""
    known = [event.__name__ for event in context.publishes]
    askers: list[tuple[str, type[Struct]]] = [(f"the timer {timer.name}", timer.armed_by) for timer in context.timers]
    askers += [(f"the effect {_place(effect.call)}", effect.asked_by) for effect in context.effects]
    for asker, event in askers:
        if event not in context.publishes:
            meant = did_you_mean(event.__name__, known)
            yield (
                f"{context.name}: {asker} waits for {event.__name__}, which none of its aggregates publishes{meant}:"
                " add the event to an Aggregate, or name one of this context's own"
            )


def _listed_of(context: Context) -> Iterator[str]:
    """Events in `unheard` or `once` that the context, or the aggregate, does not publish."""
    listed = [("Context.unheard", event, context.publishes) for event in context.unheard]
    listed += [
        (f"{aggregate.name}'s Aggregate.once", event, aggregate.events)
        for aggregate in context.aggregates
        for event in aggregate.once_by
    ]
    for where, event, published in listed:
        if event not in published:
            meant = did_you_mean(event.__name__, [one.__name__ for one in published])
            yield f"{context.name}: {where} names {event.__name__}, which is not published there{meant}: remove it"
    for aggregate in context.aggregates:
        named = [(event, field) for event, fields in aggregate.once_by.items() for field in fields]
        for event, field in named:
            if field not in event.__struct_fields__:
                meant = did_you_mean(field, event.__struct_fields__)
                yield (
                    f"{context.name}: {aggregate.name}'s Aggregate.once names the field {field!r} of {event.__name__},"
                    f" which does not exist{meant}: name a field of the event"
                )


def _deadlines_of(context: Context) -> Iterator[str]:
    """Timers that the parts of one key would take from each other."""
    for aggregate in context.aggregates:
        for timer in context.timers:
            if aggregate.part is not None and timer.armed_by in aggregate.events:
                yield (
                    f"{context.name}: the timer {timer.name} is armed by {timer.armed_by.__name__} of the aggregate"
                    f" {aggregate.name}, which has parts: a key has one deadline of each name, so each part would"
                    " replace that of another; arm it by an event of an aggregate without parts"
                )


def _answered(context: Context) -> set[type[Command]]:
    return {command for decider in context.deciders for command in decider.commands}


def _unanswered(context: Context, command: type[Command]) -> str:
    meant = did_you_mean(command.__name__, [one.__name__ for one in _answered(context)])
    return f"which no decider of {context.name} answers{meant}: add it to the commands of a Decider"


def _publishers(members: Mapping[str, Member]) -> Iterator[Mistake]:
    publishers: dict[str, list[str]] = {}
    for name, context in sorted(members.items()):
        for event in context.publishes:
            publishers.setdefault(event.__name__, []).append(name)
    for event_name, publishing in sorted(publishers.items()):
        if len(publishing) > 1:
            text = f"{event_name} is published by {' and '.join(publishing)}; an event has one publisher"
            yield Mistake(publishing[-1], text)


def _heard(members: Mapping[str, Member], absent: frozenset[str]) -> Iterator[Mistake]:
    for name, member in members.items():
        for source, heard_as in reads_of(member):
            event = heard_as.__name__
            if source in absent:
                continue
            published = {one.__name__: one for one in (*_published_by(members, source), *ENGINE_EVENTS)}
            heard = f"{name} hears {source}.{event}"
            if source not in members:
                yield Mistake(name, f"{heard}, but there is no context {source!r}{did_you_mean(source, members)}")
            elif event not in published:
                known = [one.__name__ for one in members[source].publishes]
                yield Mistake(name, f"{heard}, which {source} never publishes{did_you_mean(event, known)}")
            else:
                for problem in incompatible_fields(heard_as, published[event]):
                    yield Mistake(name, f"{_place(heard_as)} cannot read what {source} writes: {problem}")
                if (key := _key_of(members[source], published[event])) and heard_as.__struct_fields__[:1] != (key,):
                    problem = f"does not begin with the field {key!r}, the key of the event: make it the first field"
                    yield Mistake(name, f"{_place(heard_as)} {problem}")


def _key_of(source: Member, event: type[Struct]) -> str | None:
    """The field with the key of an event, which the engine compares with the key of its subject."""
    aggregates = source.aggregates if isinstance(source, Context) else ()
    return next((one.key for one in aggregates if event in one.events and one.key in event.__struct_fields__), None)


def _published_by(members: Mapping[str, Member], source: str) -> tuple[type[Struct], ...]:
    return members[source].publishes if source in members else ()


def _place(thing: Callable[..., Any]) -> str:
    """Where a class or a function stands, as Python names it."""
    return f"{getattr(thing, '__module__', '?')}.{getattr(thing, '__qualname__', repr(thing))}"
