"""Derives from the code of the contexts which commands follow from an event, and which events from a command.

A policy says in its return annotation which commands it gives. Which events a command leads to is only known of the
aggregate that decides it, so what can be reached here is at least what happens.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import NoneType
from typing import Any, get_args, get_type_hints

from msgspec import Struct

from shared.context import Command, Context


def commands_of(whenever: Callable[..., Any]) -> tuple[type[Command], ...] | None:
    """The commands in `DoThing`, `list[DoThing]` or `list[DoThing | UndoThing]`; None where none is named."""
    try:
        returned = get_type_hints(whenever).get("return")
    except (NameError, TypeError):  # A name that only a type checker sees, or no function.
        return None
    if isinstance(returned, type) and issubclass(returned, Struct):
        return (returned,)
    said = get_args(returned)
    if len(said) != 1 and not (len(said) == 2 and said[1] is ...):
        return None
    named = tuple(one for one in get_args(said[0]) or (said[0],) if one is not NoneType)
    return named if all(isinstance(one, type) and issubclass(one, Struct) for one in named) else None


def command_of(asks: Callable[..., Any]) -> type[Command] | None:
    """The command that a function returns by its annotation; None where it names no class."""
    try:
        returned = get_type_hints(asks).get("return")
    except (NameError, TypeError):  # As above.
        return None
    return returned if isinstance(returned, type) and issubclass(returned, Struct) else None


def events_of(context: Context, commands: Iterable[type[Command]]) -> set[str]:
    """Every event, as `context.Event`, of the aggregates that decide these commands."""
    asked = {*commands}
    aggregates = [
        aggregate for decider in context.deciders if asked & {*decider.commands} for aggregate in decider.kinds
    ]
    return {f"{context.name}.{event.__name__}" for aggregate in aggregates for event in aggregate.events}


def reachable(contexts: Mapping[str, Context], first: Iterable[str]) -> set[str]:
    """The first events, and all that can follow from them through policies, timers and effects."""
    found: set[str] = set()
    ahead = [*first]
    while ahead:
        event = ahead.pop()
        if event not in found:
            found.add(event)
            ahead += _following(contexts, event)
    return found


def _following(contexts: Mapping[str, Context], event: str) -> Iterator[str]:
    source, _, name = event.partition(".")
    for context in contexts.values():
        for policy in context.policies:
            if (policy.source, policy.event.__name__) == (source, name):
                yield from events_of(context, commands_of(policy.whenever) or ())
    publisher = contexts.get(source)
    if publisher is None:
        return
    for timer in publisher.timers:
        if timer.armed_by.__name__ == name:
            yield from events_of(publisher, commands_of(timer.whenever_due) or ())
    for effect in publisher.effects:
        if effect.asked_by.__name__ == name:
            yield from events_of(publisher, effect.outcomes)
