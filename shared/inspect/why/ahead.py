"""Lists the next steps of a saga: open calls, armed deadlines, and reactions that have not come.

The contexts say what is open (evidence.py). The graph from their code says what may follow (shared/flow).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime

from shared.config.units import span
from shared.flow.graph import Flow, Reaction
from shared.inspect.timeline.tree import Ahead, Message
from shared.inspect.why.evidence import Evidence, Silence
from shared.inspect.why.next_commands import next_commands
from shared.saga import Saga
from shared.wire.about import About
from shared.wire.messages import parse_subject


def ahead_of(evidence: Evidence, flow: Flow, sagas: Sequence[Saga]) -> tuple[Ahead, ...]:
    """All that is ahead of one key, by the contexts' names; a client's command only when nothing else is under way."""
    stored = {message.id for message in evidence.messages}
    found: list[Ahead] = []
    for name, answer in sorted(evidence.answers.items()):
        if isinstance(answer, About):
            found += _calls(answer, flow)
            found += _unpublished(answer, stored)
        found += _unread(evidence, name, answer, flow)
        found += _undecided(evidence, name, answer, flow)
    published = {f"{message.context}.{message.type}" for message in evidence.messages if message.kind == "evt"}
    goes_on = [saga for saga in sagas if saga.has_begun(published) and saga.end(published) is None]
    if goes_on and not found:
        found += _clients(evidence, flow, next_commands(goes_on, published, flow.contexts, _abouts(evidence)))
    if goes_on:
        waiting = {one.context for one in found}
        found += [
            Ahead(kind="wait", context=name, text=f"{_silence(answer)}, so what it waits for is unknown")
            for name, answer in sorted(evidence.answers.items())
            if isinstance(answer, Silence) and flow.contexts[name].policies and name not in waiting
        ]
    return (*found, *_deadlines(evidence, flow))


def _calls(answer: About, flow: Flow) -> Iterator[Ahead]:
    for call in answer.calls:
        on = f"{answer.context}.{call.event}"
        asked = next((reaction for reaction in flow.heard(on) if reaction.kind == "call"), None)
        whom = " and ".join(asked.asks) if asked is not None and asked.asks else "the outside"
        text = f"{whom} is asked"
        if call.attempts and call.last_error:
            times = "once" if call.attempts == 1 else f"{call.attempts} times"
            text = f"{whom} was asked {times}: {call.last_error.partition(': ')[2] or call.last_error}"
        if call.behind:
            text = f"{whom} is asked after the call before it"
        then = flow.following(asked) if asked is not None else ()
        yield Ahead(kind="open", context=answer.context, text=text, after=call.id, then=then)


def _unpublished(answer: About, stored: Collection[str]) -> Iterator[Ahead]:
    """The decided events that the stream lacks. An idle context records a moment later that one was published."""
    for event in answer.unpublished:
        if event.id not in stored or event.refused:
            refused = f", and the broker refuses it: {event.refused}" if event.refused else ""
            text = f"{event.type} is decided and not published{refused}"
            yield Ahead(kind="wait", context=answer.context, text=text)


def _unread(evidence: Evidence, name: str, answer: About | Silence, flow: Flow) -> Iterator[Ahead]:
    """The events that a context hears and has not come to, each with the events that its reactions may lead to."""
    reacted = {message.caused_by for message in evidence.messages if message.context == name}
    position = _position(answer)
    parked = {parked.id for parked in answer.parked} if isinstance(answer, About) else {*()}
    for message in evidence.messages:
        policies = [
            reaction
            for reaction in (flow.heard(f"{message.context}.{message.type}") if message.kind == "evt" else ())
            if (reaction.kind, reaction.context) == ("policy", name)
        ]
        waits = message.id not in reacted if position is None else message.sequence > position
        if policies and message.id in parked:
            yield Ahead(kind="wait", context=name, text="it is parked", after=message.id, then=_all(policies, flow))
        elif policies and waits:
            text = _silence(answer) if isinstance(answer, Silence) else "has not come to it yet"
            yield Ahead(kind="wait", context=name, text=text, after=message.id, then=_all(policies, flow))


def _undecided(evidence: Evidence, name: str, answer: About | Silence, flow: Flow) -> Iterator[Ahead]:
    parked = answer.parked if isinstance(answer, About) else ()
    commands = dict.fromkeys(message.type for message in evidence.commands if message.context == name)
    subjects = [parse_subject(one.subject) for one in parked]
    commands |= dict.fromkeys(one.type for one in subjects if one.kind == "cmd")
    for command in commands:
        state = _silence(answer) if isinstance(answer, Silence) else "has not come to it yet"
        if any((one.kind, one.type) == ("cmd", command) for one in subjects):
            state = "it is parked"
        then = flow.leads_to.get(f"{name}.{command}", ())
        yield Ahead(kind="wait", context=name, text=f"the command {command} waits: {state}", then=then)


def _clients(evidence: Evidence, flow: Flow, commands: Sequence[str]) -> Iterator[Ahead]:
    for command in commands:
        context, _, name = command.partition(".")
        published = [message for message in evidence.messages if message.context == context and message.kind == "evt"]
        yield Ahead(
            kind="wait",
            context=context,
            text=f"a client may send {name}",
            after=published[-1].id if published else "",
            then=flow.leads_to.get(command, ()),
        )


def _deadlines(evidence: Evidence, flow: Flow) -> Iterator[Ahead]:
    for name, answer in sorted(_abouts(evidence).items()):
        timers = {timer.name: timer for timer in flow.reactions if (timer.kind, timer.context) == ("timer", name)}
        for deadline in answer.deadlines:
            if deadline.is_idle:
                continue
            timer = timers.get(deadline.timer)
            armed = _latest(evidence, timer.on) if timer is not None else None
            left = datetime.fromisoformat(deadline.due_at) - evidence.at
            yield Ahead(
                kind="deadline",
                context=name,
                text=f"{deadline.timer} is due {f'in {span(left)}' if left.total_seconds() > 0 else 'now'}",
                after=armed.id if armed is not None else "",
                then=flow.following(timer) if timer is not None else (),
            )


def _abouts(evidence: Evidence) -> Mapping[str, About]:
    return {name: answer for name, answer in evidence.answers.items() if isinstance(answer, About)}


def _position(answer: About | Silence) -> int | None:
    """How far the context has read EVENTS; None when it does not say."""
    if isinstance(answer, Silence):
        return None
    return next((position.sequence for position in answer.positions if position.stream == "EVENTS"), None)


def _latest(evidence: Evidence, event: str) -> Message | None:
    found = [one for one in evidence.messages if one.kind == "evt" and f"{one.context}.{one.type}" == event]
    return found[-1] if found else None


def _silence(silence: Silence) -> str:
    return "it is connected and does not answer" if silence.runs else "it does not run"


def _all(policies: Sequence[Reaction], flow: Flow) -> tuple[str, ...]:
    return tuple(dict.fromkeys(event for policy in policies for event in flow.following(policy)))
