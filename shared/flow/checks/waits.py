"""Finds steps at which a saga may wait without an end: for the outside, or for a command of a client."""

from collections.abc import Iterator
from pathlib import Path

from shared.flow.checks.finding import Finding
from shared.flow.checks.places import place_in, place_of
from shared.flow.graph import Flow
from shared.saga import Saga


def without_deadline(flow: Flow, saga: Saga) -> Iterator[Finding]:
    """Outside calls on the way to an end while which no deadline is armed that leads to an end."""
    ends = {event for end in saga.ends for event in end.events}
    reached = {*flow.reached(saga.first)}
    covered = {
        event
        for timer in flow.reactions
        if timer.kind == "timer" and timer.on in reached and ends & {*flow.reached(flow.following(timer))}
        for event in flow.reached([timer.on])
    }
    calls = [call for call in flow.reactions if call.kind == "call" and flow.aggregates[call.on].key == saga.key]
    for call in calls:
        leads_on = call.on in reached and ends & {*flow.reached(flow.following(call))}
        if leads_on and call.on not in covered:
            asked = " and ".join(call.asks) or "the outside"
            yield Finding(
                rule="wait without a deadline",
                place=place_of(call.code),
                text=f"the saga {saga.name} waits for {asked} after {call.on}, and no deadline ends it meanwhile",
                remedy=f"arm a Timer by {call.on}, or by an event before it, that leads to an end of the saga",
            )


def for_clients(flow: Flow, saga: Saga, file: Path | None) -> Iterator[Finding]:
    """Ends that only a command of a client leads to, unless the saga declares that it waits for it."""
    begin = {command for command, events in flow.leads_to.items() if {*events} & {*saga.first}}
    beside = [event for command in sorted(begin) for event in flow.leads_to[command]]
    reached = {*flow.reached((*saga.first, *beside))}
    clients = [
        reaction
        for reaction in flow.reactions
        if reaction.kind == "client"
        and flow.decided_by[reaction.commands[0]].key == saga.key
        and reaction.commands[0] not in begin
    ]
    for end in saga.ends:
        missing = {*end.events} - reached
        commands = [one.commands[0] for one in clients if missing & {*flow.reached(flow.following(one))}]
        if commands and not {*commands} & {*saga.waits_for}:
            yield Finding(
                rule="wait without a deadline",
                place=place_in(file, saga, min(missing)),
                text=f"the saga {saga.name} ends as {end.name!r} only after a client sends {' or '.join(commands)},"
                " and no deadline ends the wait",
                remedy=f"arm a Timer that leads to {min(missing)}, or add the command to `waits_for` of the Saga",
            )
