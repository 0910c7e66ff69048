"""Selects the part of a graph that one saga, or everything after one event, consists of, as a panel per context.

A panel is small enough to be drawn by itself: arrows between contexts are names that stand in two panels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shared.flow.graph import Flow, Name, Reaction, saga_named
from shared.saga import Saga


@dataclass(frozen=True, slots=True)
class Panel:
    """A context's part: its commands, each with the reactions that give it. `notes` are about its events."""

    context: str
    commands: dict[Name, tuple[Reaction, ...]]
    leads_to: dict[Name, tuple[Name, ...]]
    notes: dict[Name, str]


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected panels under a title. `first` are the events that it begins with; none is the whole system.

    The reactions to the events `ends` are not selected.
    """

    title: str
    panels: tuple[Panel, ...]
    first: tuple[Name, ...] = ()
    ends: tuple[Name, ...] = ()


def select(flow: Flow, sagas: Sequence[Saga], saga: str | None, event: str | None) -> Selection:
    """The part of a saga, or else after an event, or else everything; raises UnknownNameError."""
    if saga is not None:
        return of_saga(flow, saga_named(sagas, saga), sagas)
    return whole(flow) if event is None else after(flow, flow.event(event))


def whole(flow: Flow) -> Selection:
    """Everything, context by context."""
    return Selection("", _panels(flow, flow.reactions, [*flow.contexts], set(flow.aggregates), {}))


def of_saga(flow: Flow, saga: Saga, sagas: Iterable[Saga]) -> Selection:
    """The part that a saga can come to under its key, until it ends or one of the other `sagas` begins.

    An end of several events is followed, because each of them may come alone. Clients send only commands of the
    aggregates that the saga itself names; other aggregates merely react to it.
    """
    ends = tuple(end.events[0] for end in saga.ends if len(end.events) == 1)
    begun = {event for other in sagas for event in other.first} - {*saga.first}
    others = {event for event, aggregate in flow.aggregates.items() if aggregate.key != saga.key}
    beyond = {*ends, *saga.beyond, *begun, *others}
    sent = _sent(flow, saga)
    from_clients = [event for reaction in sent for event in flow.following(reaction)]
    reached = dict.fromkeys(
        (*flow.reached(saga.first, beyond=beyond), *flow.reached((*saga.first, *from_clients), beyond=beyond))
    )
    under_key = [event for event in reached if event not in others]
    followed = {*under_key} - beyond
    reactions = [one for one in flow.reactions if (one.on in followed if one.on else one in sent)]
    labels: dict[Name, str] = {saga.pivot: "pivot"} if saga.pivot else {}
    for end in saga.ends:
        for event in end.events:
            labels[event] = "; ".join(filter(None, (labels.get(event), f"end: {end.name}")))
    return Selection(
        saga.name,
        _panels(flow, reactions, under_key, set(under_key), labels),
        saga.first,
        tuple(event for event in under_key if event in beyond),
    )


def beside(flow: Flow, sagas: Iterable[Saga]) -> Selection:
    """The reactions that no saga has: those to ends, and those under other keys."""
    declared = (*sagas,)
    selections = [of_saga(flow, saga, declared) for saga in declared]
    drawn = {
        cause
        for selection in selections
        for panel in selection.panels
        for causes in panel.commands.values()
        for cause in causes
    }
    rest = [reaction for reaction in flow.reactions if reaction not in drawn]
    return Selection("", _panels(flow, rest, flow.contexts, {*flow.aggregates}, {}))


def _sent(flow: Flow, saga: Saga) -> list[Reaction]:
    """The commands and requests of clients to the aggregates whose events and commands the declaration names."""
    events = (*saga.first, *filter(None, [saga.pivot]), *(event for end in saga.ends for event in end.events))
    named = {(event.partition(".")[0], flow.aggregates[event].name) for event in events if event in flow.aggregates}
    named |= {
        (command.partition(".")[0], flow.decided_by[command].name)
        for command in saga.waits_for
        if command in flow.decided_by
    }
    return [
        one for one in flow.reactions if not one.on and (one.context, flow.decided_by[one.commands[0]].name) in named
    ]


def after(flow: Flow, event: Name) -> Selection:
    """Everything that can follow from an event."""
    reached = flow.reached([event])
    reactions = [reaction for reaction in flow.reactions if reaction.on in reached]
    return Selection(f"after {event}", _panels(flow, reactions, reached, set(reached), {}), (event,))


def _panels(
    flow: Flow, reactions: Iterable[Reaction], nearest: Iterable[str], events: set[Name], labels: dict[Name, str]
) -> tuple[Panel, ...]:
    """A panel for each context that reacts, in the sequence in which `nearest` names the contexts."""
    given: dict[str, dict[Name, list[Reaction]]] = {}
    for reaction in reactions:
        for command in reaction.commands:
            given.setdefault(reaction.context, {}).setdefault(command, []).append(reaction)
    sequence = dict.fromkeys([name.partition(".")[0] for name in nearest])
    return tuple(
        Panel(
            context=context,
            commands={command: tuple(causes) for command, causes in given[context].items()},
            leads_to={
                command: tuple(event for event in flow.leads_to.get(command, ()) if event in events)
                for command in given[context]
            },
            notes={
                event: _note(flow, event, labels.get(event, "")) for event in events if event.startswith(f"{context}.")
            },
        )
        for context in (*sequence, *(one for one in given if one not in sequence))
        if context in given
    )


def _note(flow: Flow, event: Name, label: str) -> str:
    readers = dict.fromkeys(reaction.context for reaction in flow.heard(event) if reaction.kind == "policy")
    return "; ".join(filter(None, (label, f"heard by {', '.join(readers)}" if readers else "")))


def sentence(reaction: Reaction) -> str:
    """The reason of a reaction as people read it."""
    match reaction.kind:
        case "client":
            return "a client sends it"
        case "request":
            return f"{reaction.name} is requested"
        case "policy":
            return (
                reaction.name.replace("_", " ") if reaction.name.startswith("whenever_") else f"policy {reaction.name}"
            )
        case "timer":
            return f"{reaction.name} is due"
        case "call":
            return f"{' and '.join(reaction.asks) or 'the outside'} answers {reaction.name}"
