"""Finds the causes for which a saga may wait: one sentence and a remedy per cause.

Pure: everything follows from the evidence (evidence.py) and from the declarations of the contexts.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from typing import Final

from msgspec import Struct

from shared.config.units import span
from shared.context import Context
from shared.inspect.timeline.tree import Message
from shared.inspect.why.evidence import UNANSWERED_AT_MOST, Evidence, Silence
from shared.wire.about import About, OpenCall

_SERVICE: Final = re.compile(r"svc\.([A-Za-z0-9_-]+)\.")


class Kind(IntEnum):
    """The kinds of cause, the most likely one first, as `chorus why` lists them."""

    CONSUMER_MISSING = 1
    CONTEXT_DOWN = 2
    PARKED = 3
    PUBLICATION_REFUSED = 4
    CONTEXT_HINDERED = 5
    CALL_OPEN = 6
    CONTEXT_SLOW = 7
    COMMAND_WAITING = 8
    UNDER_WAY = 9
    PAUSED = 10
    WAITS_FOR_COMMAND = 11
    DEADLINE_ARMED = 12
    ENDED = 13
    NOTHING_BEGUN = 14
    STRANDED = 15
    UNKNOWN_KEY = 16


TROUBLES: Final = frozenset(
    {
        Kind.CONSUMER_MISSING,
        Kind.CONTEXT_DOWN,
        Kind.PARKED,
        Kind.PUBLICATION_REFUSED,
        Kind.CONTEXT_HINDERED,
        Kind.CALL_OPEN,
        Kind.STRANDED,
        Kind.UNKNOWN_KEY,
    }
)
"""The kinds that do not pass by themselves, or not for sure."""


class Cause(Struct, frozen=True, kw_only=True):
    """Why a saga does not go on. `remedy` is what to do, or empty when there is nothing to do."""

    kind: Kind
    context: str
    text: str
    remedy: str = ""


def causes_of(evidence: Evidence, contexts: Mapping[str, Context]) -> Iterator[Cause]:
    """The causes that the answers show, and those of silent contexts that should have reacted."""
    for name, answer in sorted(evidence.answers.items()):
        heard = _heard(evidence.messages, contexts[name])
        commands = [message for message in evidence.commands if message.context == name]
        if isinstance(answer, Silence):
            reacted = {message.caused_by for message in evidence.messages if message.context == name}
            yield from _of_silence(answer, [message for message in heard if message.id not in reacted], commands)
        else:
            yield from _of_answer(evidence, answer, heard, commands, contexts)


def _of_silence(silence: Silence, unanswered: Sequence[Message], commands: Sequence[Message]) -> Iterator[Cause]:
    name = silence.context
    for consumer in silence.missing:
        yield Cause(
            kind=Kind.CONSUMER_MISSING,
            context=name,
            text=f"{name} reads nothing: its consumer {consumer} is missing",
            remedy="chorus streams apply",
        )
    if silence.missing or not (unanswered or commands):
        return
    yield _down(silence, f"and has not reacted to {_named([*unanswered, *commands])}")


def silences(evidence: Evidence, contexts: Mapping[str, Context], *, named: set[str]) -> Iterator[Cause]:
    """The other contexts that do not answer: each may have a call open, or something parked.

    A context that hears no event knows of a saga by requests only, and the context that sends them reports those.
    """
    for name, answer in sorted(evidence.answers.items()):
        if isinstance(answer, Silence) and name not in named and contexts[name].policies:
            yield _down(answer, f"so what it does about {evidence.key} is unknown")


def _down(silence: Silence, consequence: str) -> Cause:
    name = silence.context
    state = "is connected but does not answer" if silence.runs else "does not run"
    remedy = f"look at its log, and restart it: chorus worker {name}" if silence.runs else f"chorus worker {name}"
    return Cause(kind=Kind.CONTEXT_DOWN, context=name, text=f"{name} {state}, {consequence}", remedy=remedy)


def _of_answer(
    evidence: Evidence,
    about: About,
    heard: Sequence[Message],
    commands: Sequence[Message],
    contexts: Mapping[str, Context],
) -> Iterator[Cause]:
    name = about.context
    for parked in about.parked:
        if parked.reason:
            reason = parked.reason.strip().splitlines()[-1]
            yield Cause(
                kind=Kind.PARKED,
                context=name,
                text=f"{name} parked {_type_of(parked.subject)} at {_clock(parked.stored_at)}: {reason}",
                remedy=f"fix the cause, then chorus parked retry {evidence.key}",
            )
    # A worker that is idle records only after a moment that the broker has an event.
    stored = {message.id for message in evidence.messages}
    unpublished = [event for event in about.unpublished if event.refused or event.id not in stored]
    for event in unpublished:
        if event.refused:
            yield Cause(
                kind=Kind.PUBLICATION_REFUSED,
                context=name,
                text=f"{name} decided {event.type}, which the broker refuses: {event.refused}",
                remedy=f"chorus parked show {event.number}",
            )
    if unpublished and not any(event.refused for event in unpublished):
        first = unpublished[0]
        text = f"{name} has decided {first.type} and not published it yet"
        yield Cause(kind=Kind.UNDER_WAY, context=name, text=text, remedy=f"chorus health {name}")
    for call in about.calls:
        if not call.behind:
            yield _call(evidence, name, call, contexts)
    position = next((position for position in about.positions if position.stream == "EVENTS"), None)
    unread = [message for message in heard if position is not None and message.sequence > position.sequence]
    if unread:
        behind = "" if position is None or position.behind is None else f", {position.behind} messages behind"
        text = f"{name} has not come to {_named(unread)} yet{behind}"
        yield Cause(kind=Kind.CONTEXT_SLOW, context=name, text=text, remedy=f"chorus health {name}")
    if unread or commands or any(not event.refused for event in unpublished):
        yield from _hindrances(about)
    if commands and not about.parked:
        text = f"{name} has not come to the command {_named(commands)} yet"
        yield Cause(kind=Kind.COMMAND_WAITING, context=name, text=text, remedy=f"chorus health {name}")


def _hindrances(about: About) -> Iterator[Cause]:
    """The alarms of a context that has something to do for this key; an alarm about another key is none of them."""
    for alarm in about.alarms:
        if alarm.kind != "publication" or alarm.subject == about.key:
            text = f"{about.context} is kept from its work since {_clock(alarm.since)}: {alarm.subject}: {alarm.reason}"
            yield Cause(kind=Kind.CONTEXT_HINDERED, context=about.context, text=text, remedy=alarm.remedy)


def _call(evidence: Evidence, name: str, call: OpenCall, contexts: Mapping[str, Context]) -> Cause:
    found = _SERVICE.match(call.asks)
    service = found[1] if found else ""
    whom = service or "the outside"
    if not call.last_error:
        waits = evidence.at - datetime.fromisoformat(call.since)
        if waits > UNANSWERED_AT_MOST:
            text = f"{name} has asked {whom} because of {call.event} and has had no answer for {span(waits)}"
            remedy = f"does {service} run, and is it well? chorus health {service}" if service in contexts else ""
            return Cause(kind=Kind.CALL_OPEN, context=name, text=text, remedy=remedy)
        text = f"{name} asks {whom} because of {call.event}, for the first time, since {_clock(call.since)}"
        return Cause(kind=Kind.UNDER_WAY, context=name, text=text)
    times = "once" if call.attempts == 1 else f"{call.attempts} times"
    error = call.last_error.partition(": ")[2] or call.last_error
    text = f"{name} has asked {whom} {times} because of {call.event}, since {_clock(call.since)}: {error}"
    if call.next_try_at:
        wait = max(datetime.fromisoformat(call.next_try_at) - evidence.at, evidence.at - evidence.at)
        text += f"; it asks again in {span(wait)}"
    remedy = f"is {service} running? chorus worker {service}" if service in contexts else f"is {whom} running?"
    return Cause(kind=Kind.CALL_OPEN, context=name, text=text, remedy=remedy)


def deadlines(evidence: Evidence) -> Iterator[Cause]:
    """The deadlines that would do something."""
    for name, answer in sorted(evidence.answers.items()):
        if isinstance(answer, About):
            for deadline in answer.deadlines:
                if deadline.is_idle:
                    continue
                left = datetime.fromisoformat(deadline.due_at) - evidence.at
                due = f"in {span(left)}" if left.total_seconds() > 0 else f"since {_clock(deadline.due_at)}"
                text = f"{name} has set {deadline.timer}, which is due {due}"
                # A message on the subject of a timer ends it (docs/access.md).
                remedy = f"chorus reconcile {name}" if -left > UNANSWERED_AT_MOST else ""
                yield Cause(kind=Kind.DEADLINE_ARMED, context=name, text=text, remedy=remedy)


def _heard(messages: Iterable[Message], context: Context) -> list[Message]:
    heard = {(policy.source, policy.event.__name__) for policy in context.policies}
    return [message for message in messages if message.kind == "evt" and (message.context, message.type) in heard]


def _named(messages: Sequence[Message]) -> str:
    names = list(dict.fromkeys(f"{message.context}.{message.type}" for message in messages))
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _type_of(subject: str) -> str:
    return subject.split(".")[2]


def _clock(at: str) -> str:
    """The time of day of an RFC 3339 time, in UTC."""
    return f"{at[11:19]} UTC"
