"""Puts one input to the deciders of the code at hand, on the states that a replay has; nothing of it stays."""

from typing import NamedTuple

import msgspec

from shared.context import Rejected
from shared.engine.decide.aggregates import AlsoRead
from shared.engine.route.incoming import Decide, Poison, Refuse, Stranger
from shared.engine.route.routing import Routing
from shared.replay.difference import Decided, rejection
from shared.replay.inputs import Input
from shared.replay.states import States, Tried


class Outcome(NamedTuple):
    """The events that the code decides, or the problem for which it would park the message.

    `touched` are the ids of all aggregates that the decision read or changed.
    """

    decided: list[Decided]
    problem: str
    touched: frozenset[str] = frozenset()


def decide(routing: Routing, states: States, found: Input, n: int) -> Outcome:
    """Decide an input on the states before row `n`."""
    handling = found.handling
    if isinstance(handling, Refuse):
        return Outcome([rejection(Rejected(reason=handling.reason, details=handling.details))], "")
    if isinstance(handling, Poison):
        return Outcome([], f"the message would be parked: {handling.reason.strip().splitlines()[-1]}")
    if isinstance(handling, Stranger):
        return Outcome([], f"the message would be set aside: {handling.reason}")
    decided: list[Decided] = []
    tried = Tried(states, n)
    try:
        for command in handling.commands if isinstance(handling, Decide) else ():
            decider, id_of = routing.deciders[type(command)][:2]
            others = [AlsoRead(tried.get, reads.aggregate) for reads in decider.also_reads]
            for event in decider.decide(command, tried.get(decider.aggregate, id_of(command)), *others):
                if isinstance(event, Rejected):
                    decided.append(rejection(event))
                    continue
                aggregate = routing.aggregate_of[type(event)]
                identity = aggregate.id_of(event)
                tried.evolve(aggregate, identity, event)
                decided.append(Decided(type(event).__name__, identity, msgspec.to_builtins(event)))
    except Exception as error:  # A builder's code may raise any.
        return Outcome([], f"the message would be parked: {type(error).__name__}: {error}", frozenset(tried.touched))
    return Outcome(decided, "", frozenset(tried.touched))
