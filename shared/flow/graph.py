"""Derives the graph of a system: which events lead to which commands, in which context, and which events follow.

Everything comes from what the contexts declare and from the source of their deciders, so the graph shows what may
happen. Nothing of it comes from a running system.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from shared.config.spelling import did_you_mean
from shared.context import Aggregate, Context
from shared.derived.return_types import commands_of
from shared.flow.outcomes import outcomes
from shared.saga import Saga
from shared.streams.choreography import function_of, services_of
from shared.wire.engine_events import ENGINE_EVENTS

Name: TypeAlias = str
"""A command or an event, as `context.Name`."""

Kind: TypeAlias = Literal["client", "request", "policy", "timer", "call"]


class UnknownNameError(Exception):
    """There is no such event or saga; the text says which one was probably meant."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """A context gives one of `commands` because of the event `on`; that of a client or a request has none.

    `name` is the name of the policy's function, of the timer, of the call's function, of the command that a client
    sends, or of the operation that is requested. `code` is the function or class behind it. `asks` are the services
    that a call asks.
    """

    kind: Kind
    context: str
    name: str
    on: Name
    commands: tuple[Name, ...]
    code: Callable[..., Any]
    asks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Flow:
    """The graph. `leads_to` has the events of each command, `aggregates` the aggregate that publishes each event.

    `decided_by` has the aggregate that decides each command.
    """

    contexts: Mapping[str, Context]
    reactions: tuple[Reaction, ...]
    leads_to: Mapping[Name, tuple[Name, ...]]
    aggregates: Mapping[Name, Aggregate]
    decided_by: Mapping[Name, Aggregate]

    def heard(self, event: Name) -> tuple[Reaction, ...]:
        """The reactions to an event: policies of any context, timers and calls of its own."""
        return tuple(reaction for reaction in self.reactions if reaction.on == event)

    def following(self, reaction: Reaction) -> tuple[Name, ...]:
        """The events that a reaction can lead to, each once."""
        return tuple(dict.fromkeys(event for command in reaction.commands for event in self.leads_to.get(command, ())))

    def reached(
        self,
        first: Iterable[Name],
        *,
        beyond: Collection[Name] = (),
        kinds: Collection[Kind] = ("policy", "timer", "call"),
    ) -> tuple[Name, ...]:
        """The first events and all that can follow, nearest first; nothing is followed beyond the events of `beyond`.

        With the kind `client` in `kinds`, clients send every command that an aggregate of a reached event decides.
        """
        found: dict[Name, None] = dict.fromkeys(first)
        ahead = list(found)
        while ahead:
            event = ahead.pop(0)
            if event in beyond:
                continue
            reactions = [reaction for reaction in self.heard(event) if reaction.kind in kinds]
            if "client" in kinds and event in self.aggregates:
                reactions += self.from_clients(event.partition(".")[0], self.aggregates[event])
            for new in (new for reaction in reactions for new in self.following(reaction)):
                if new not in found:
                    found[new] = None
                    ahead.append(new)
        return tuple(found)

    def from_clients(self, context: str, aggregate: Aggregate) -> list[Reaction]:
        """The commands that clients may send to an aggregate."""
        return [
            reaction
            for reaction in self.reactions
            if reaction.kind == "client"
            and reaction.context == context
            and self.decided_by[reaction.commands[0]].name == aggregate.name
        ]

    def event(self, name: str) -> Name:
        """The event of this name, with or without its context; raises UnknownNameError.

        The engine's own events, such as `CommandRejected`, are known where a context hears them.
        """
        events = dict.fromkeys((*self.aggregates, *(reaction.on for reaction in self.reactions if reaction.on)))
        found = [event for event in events if name in (event, event.partition(".")[2])]
        if len(found) == 1:
            return found[0]
        if found:
            raise UnknownNameError(f"several contexts publish {name!r}; name one: {', '.join(found)}")
        known = [*events] if "." in name else [event.partition(".")[2] for event in events]
        meant = did_you_mean(name, known) or "; chorus flow lists the events"
        raise UnknownNameError(f"no context publishes an event {name!r}{meant}")


def saga_named(sagas: Iterable[Saga], name: str) -> Saga:
    """The saga of this name; raises UnknownNameError."""
    named = {saga.name: saga for saga in sagas}
    if name not in named:
        there = did_you_mean(name, named) or (
            f"; there are {', '.join(named)}" if named else "; sagas.py declares none"
        )
        raise UnknownNameError(f"there is no saga {name!r}{there}")
    return named[name]


def derive(members: Mapping[str, Context]) -> Flow:
    """Derive the graph of these contexts."""
    contexts = dict(sorted(members.items()))
    heard = {f"{policy.source}.{policy.event.__name__}" for one in contexts.values() for policy in one.policies}
    leads_to: dict[Name, tuple[Name, ...]] = {}
    for context in contexts.values():
        leads_to |= _leads_to(context, heard)
    return Flow(
        contexts=contexts,
        reactions=tuple(reaction for context in contexts.values() for reaction in _reactions(context)),
        leads_to=leads_to,
        aggregates={
            f"{name}.{event.__name__}": aggregate
            for name, context in contexts.items()
            for aggregate in context.aggregates
            for event in aggregate.events
        },
        decided_by={
            f"{name}.{command.__name__}": decider.aggregate
            for name, context in contexts.items()
            for decider in context.deciders
            for command in decider.commands
        },
    )


def _leads_to(context: Context, heard: Collection[Name]) -> dict[Name, tuple[Name, ...]]:
    """The events of each command, in the order in which the aggregates list them; then those of the engine."""
    found = outcomes(context)
    listed = list(dict.fromkeys(event.__name__ for event in context.publishes))
    of_the_engine = [event.__name__ for event in ENGINE_EVENTS if f"{context.name}.{event.__name__}" in heard]
    accepted = {command.__name__ for command in context.accepts}
    return {
        f"{context.name}.{command}": tuple(
            f"{context.name}.{event}"
            for event in (*(one for one in listed if one in events), *(of_the_engine if command in accepted else ()))
        )
        for command, events in found.items()
    }


def _reactions(context: Context) -> Iterable[Reaction]:
    name = context.name
    every = tuple(f"{name}.{command.__name__}" for decider in context.deciders for command in decider.commands)

    def given(whenever: Callable[..., Any]) -> tuple[Name, ...]:
        """The commands of a policy; every command of the context where its annotation names none."""
        commands = commands_of(whenever)
        return every if commands is None else tuple(f"{name}.{command.__name__}" for command in commands)

    for command in context.accepts:
        yield Reaction("client", name, command.__name__, "", (f"{name}.{command.__name__}",), command)
    for endpoint in context.endpoints:
        yield Reaction("request", name, endpoint.operation, "", given(endpoint.asks), function_of(endpoint.asks))
    for policy in context.policies:
        on = f"{policy.source}.{policy.event.__name__}"
        yield Reaction("policy", name, _name_of(policy.whenever), on, given(policy.whenever), policy.whenever)
    for timer in context.timers:
        on = f"{name}.{timer.armed_by.__name__}"
        yield Reaction("timer", name, timer.name, on, given(timer.whenever_due), timer.whenever_due)
    for effect in context.effects:
        on = f"{name}.{effect.asked_by.__name__}"
        commands = tuple(f"{name}.{command.__name__}" for command in effect.outcomes)
        code = function_of(effect.call)
        yield Reaction("call", name, _name_of(code), on, commands, code, tuple(services_of(effect)))


def _name_of(function: Callable[..., Any]) -> str:
    named = function_of(function)
    return str(getattr(named, "__qualname__", type(named).__name__)).rpartition(".")[2]
