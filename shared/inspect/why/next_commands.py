"""Finds the commands of clients that can bring a saga to an end when nothing of it is under way.

It goes backwards from the events of the ends: from an event to the commands that lead to it, and from a command to the
events of other contexts whose policies give it. A command that a client may send ends the search. It counts unless its
decider, asked with example values in the present state, gives another answer or rejects it as a whole.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime

import msgspec

from shared.context import Command, Context, Rejected
from shared.derived.return_types import commands_of
from shared.flow.outcomes import outcomes
from shared.saga import Saga
from shared.send.compose import compose
from shared.send.fields import fields_of
from shared.wire.about import About
from shared.wire.bodies import BodyDecoder


def next_commands(
    sagas: Iterable[Saga], published: Collection[str], contexts: Mapping[str, Context], answers: Mapping[str, About]
) -> list[str]:
    """Return commands such as `till.Ring`. Events are `context.Event`; `answers` are about the key."""
    leads_to = {name: outcomes(context) for name, context in contexts.items()}
    wanted = [event for saga in sagas if saga.end(published) is None for end in saga.ends for event in end.events]
    seen: set[str] = {*published}
    found: dict[str, None] = {}
    while wanted:
        event = wanted.pop(0)
        if event in seen:
            continue
        seen.add(event)
        name, _, kind = event.partition(".")
        context = contexts.get(name)
        if context is None:
            continue
        accepted = {command.__name__: command for command in context.accepts}
        for command, events in leads_to[name].items():
            if kind not in events:
                continue
            if command in accepted and name in answers and _may_lead(context, accepted[command], kind, answers[name]):
                found[f"{name}.{command}"] = None
            given_by = [
                p for p in context.policies if command in {one.__name__ for one in commands_of(p.whenever) or ()}
            ]
            wanted += [f"{policy.source}.{policy.event.__name__}" for policy in given_by]
    return list(found)


def _may_lead(context: Context, command: type[Command], kind: str, about: About) -> bool:
    decider = next(one for one in context.deciders if command in one.commands)
    states = {aggregate.id: aggregate.state for aggregate in about.aggregates}
    words = [f"{field.path}={field.example}" for field in fields_of(command) if field.required]
    try:
        at = datetime.fromisoformat(about.at)
        example = BodyDecoder(command, strict=False).decode(compose(command, words), key=about.key, at=at)
        identity = decider.aggregate.id_of(example)
        if identity not in states:
            return False
        state = msgspec.json.decode(states[identity], type=decider.aggregate.state)
        events = decider.decide(example, state, *({} for _ in decider.also_reads))
    except Exception:  # A decision that also reads other aggregates, or one that the example does not fit.
        return True
    return any(
        _names_a_field(event) if isinstance(event, Rejected) else type(event).__name__ == kind for event in events
    )


def _names_a_field(rejected: Rejected) -> bool:
    return any(detail.path != "$" for detail in rejected.details)
