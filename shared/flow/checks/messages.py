"""Finds messages that go nowhere or come from nowhere."""

from collections.abc import Iterable, Iterator

from shared.flow.checks.finding import Finding
from shared.flow.checks.places import place_of
from shared.flow.graph import Flow
from shared.saga import Saga
from shared.wire.engine_events import ENGINE_EVENTS


def unheard(flow: Flow, sagas: Iterable[Saga]) -> Iterator[Finding]:
    """Events that no policy, deadline or call reacts to. The ends of sagas are for watchers."""
    read = {reaction.on for reaction in flow.reactions}
    read |= {event for saga in sagas for end in saga.ends for event in end.events}
    for context in flow.contexts.values():
        for event in dict.fromkeys(context.publishes):
            if f"{context.name}.{event.__name__}" not in read and event not in context.unheard:
                yield Finding(
                    rule="unheard event",
                    place=place_of(event),
                    text=f"nobody hears {context.name}.{event.__name__}",
                    remedy=f"let a policy hear it, or add it to `unheard` of the Context {context.name}",
                )


def unsaid(flow: Flow) -> Iterator[Finding]:
    """Events that a reaction waits for, and that no decision leads to."""
    decided = {event for events in flow.leads_to.values() for event in events}
    of_the_engine = {event.__name__ for event in ENGINE_EVENTS}
    for reaction in flow.reactions:
        source, _, event = reaction.on.partition(".")
        if reaction.on and reaction.on not in decided and source in flow.contexts and event not in of_the_engine:
            yield Finding(
                rule="event never published",
                place=place_of(reaction.code),
                text=f"{reaction.context} waits for {reaction.on}, and no decision of {source} leads to it",
                remedy=f"let a decider of {source} publish it, or remove the {reaction.kind}",
            )


def unasked(flow: Flow) -> Iterator[Finding]:
    """Commands that no client and no reaction gives."""
    given = {command for reaction in flow.reactions for command in reaction.commands}
    for context in flow.contexts.values():
        for command in (command for decider in context.deciders for command in decider.commands):
            if f"{context.name}.{command.__name__}" not in given:
                yield Finding(
                    rule="command never given",
                    place=place_of(command),
                    text=f"nobody gives {context.name}.{command.__name__}",
                    remedy="accept it from clients, let a policy, a timer or an effect give it, or delete it",
                )
