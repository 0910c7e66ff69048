"""Finds sagas that name what does not exist, or that have an end which nothing leads to."""

from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from shared.config.spelling import did_you_mean
from shared.flow.checks.finding import Finding
from shared.flow.checks.places import place_in
from shared.flow.graph import Flow, Kind
from shared.saga import Saga


def misnamed(flow: Flow, saga: Saga, file: Path | None) -> Iterator[Finding]:
    """Events that no context publishes or that have another key, and commands that no client may send."""
    of_pauses = [event for pause in saga.pauses for event in (pause.event, *pause.until)]
    of_ends = [event for end in saga.ends for event in end.events]
    named = [*saga.first, *of_ends, *filter(None, [saga.pivot]), *of_pauses, *saga.beyond]
    for event in dict.fromkeys(named):
        if event not in flow.aggregates:
            text = f"the saga {saga.name} names {event}, which no context publishes"
            remedy = "name an event that is published"
            meant = did_you_mean(event, flow.aggregates)
        elif (key := flow.aggregates[event].key) != saga.key:
            text = f"the saga {saga.name} has the key {saga.key}, and its event {event} has the key {key}"
            remedy, meant = "name an event of the saga's key", ""
        else:
            continue
        yield Finding(rule="unknown in a saga", place=place_in(file, saga, event), text=f"{text}{meant}", remedy=remedy)
    accepted = {reaction.commands[0] for reaction in flow.reactions if reaction.kind == "client"}
    for command in (*saga.waits_for, *(pause.ended_by for pause in saga.pauses)):
        if command not in accepted:
            meant = did_you_mean(command, accepted)
            yield Finding(
                rule="unknown in a saga",
                place=place_in(file, saga, command),
                text=f"the saga {saga.name} waits for {command}, which no context accepts{meant}",
                remedy="name a command that clients may send",
            )


def unreachable(flow: Flow, saga: Saga, file: Path | None) -> Iterator[Finding]:
    """Ends, and a pivot, that do not follow from the first events and from all commands of clients."""
    sent = [
        event
        for reaction in flow.reactions
        if reaction.kind == "client" and flow.decided_by[reaction.commands[0]].key == saga.key
        for event in flow.following(reaction)
    ]
    reached = {*flow.reached((*saga.first, *sent), kinds=get_args(Kind))}
    for end in saga.ends:
        for event in end.events:
            if event not in reached:
                yield Finding(
                    rule="end out of reach",
                    place=place_in(file, saga, event),
                    text=f"the saga {saga.name} cannot end as {end.name!r}: nothing leads to {event}",
                    remedy="let a policy, a deadline or a client give the command that leads to it, or drop the end",
                )
    if saga.pivot and saga.pivot not in reached:
        yield Finding(
            rule="end out of reach",
            place=place_in(file, saga, saga.pivot),
            text=f"nothing leads to {saga.pivot}, the pivot of the saga {saga.name}",
            remedy="let a policy give the command that leads to it, or name another pivot",
        )
