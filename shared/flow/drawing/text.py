"""Draws a selection for a terminal: lists of commands, or the tree of what follows from an event."""

from collections.abc import Iterator
from datetime import timedelta

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from shared.config.units import span
from shared.flow.drawing.live import rate
from shared.flow.graph import Flow, Name, Reaction
from shared.flow.rates.latest import Latest
from shared.flow.selection import Panel, Selection, sentence

COMMAND, EVENT, CONTEXT = "cyan", "green", "bold"


def lists(selection: Selection) -> Iterator[Text]:
    """Each context with its commands: who gives each one, and which events it leads to."""
    for number, panel in enumerate(selection.panels):
        if number:
            yield Text("")
        yield Text(panel.context, style=CONTEXT)
        for command, causes in panel.commands.items():
            yield Text("  ").append(_short(command), style=COMMAND)
            for cause in causes:
                on = f" on {_near(cause.on, panel)}" if cause.on else ""
                yield Text(f"    {sentence(cause)}").append(on, style="dim")
            for event in panel.leads_to[command]:
                line = Text("    → ").append(_short(event), style=EVENT)
                yield line.append(f"  {panel.notes[event]}" if panel.notes.get(event) else "", style="dim")


def edges(selection: Selection, latest: Latest) -> Iterator[RenderableType]:
    """A table of the edges to the selected events: how often each came in the last minute, and how long it took."""
    said = {event for panel in selection.panels for events in panel.leads_to.values() for event in events}
    table = Table("event", "led to", box=None, pad_edge=False)
    for title in ("per s", "p50", "p99"):
        table.add_column(title, justify="right")
    for edge in latest.edges:
        if edge.event in said:
            times = (span(timedelta(seconds=value)) for value in (edge.p50_s, edge.p99_s))
            table.add_row(edge.cause, edge.event, rate(edge.per_s), *times)
    yield table if table.row_count else f"no event came in the last {latest.seconds:.0f} s"


def trees(flow: Flow, selection: Selection) -> Iterator[Tree]:
    """The tree of what follows from each first event, then from the commands of clients.

    An event that stands in several places is followed in the nearest one.
    """
    notes = {event: note for panel in selection.panels for event, note in panel.notes.items()}
    reactions = _by_event(selection)
    followed: set[Name] = set()

    def follow(ahead: list[tuple[Name, Tree]]) -> None:
        while ahead:
            event, branch = ahead.pop(0)
            branch.label = _event(event, notes)
            if event in selection.ends or event not in reactions:
                continue
            if event in followed:
                branch.label = Text(event, style=EVENT).append(" …", style="dim")
                continue
            followed.add(event)
            for reaction in reactions[event]:
                twig = branch.add(_reaction(reaction))
                ahead += [(new, twig.add(new)) for new in flow.following(reaction) if new in notes]

    for first in selection.first:
        root = Tree(first)
        follow([(first, root)])
        yield root
    for reaction in reactions.get("", ()):
        events = [event for event in flow.following(reaction) if event in notes and event not in selection.first]
        if events:
            root = Tree(Text("a client sends ").append(reaction.commands[0], style=COMMAND))
            follow([(event, root.add(event)) for event in events])
            yield root


def _by_event(selection: Selection) -> dict[Name, list[Reaction]]:
    """The reactions to each event, deadlines last; those of clients are under the empty name."""
    found: dict[Name, dict[Reaction, None]] = {}
    for panel in selection.panels:
        for causes in panel.commands.values():
            for cause in causes:
                found.setdefault(cause.on, {})[cause] = None
    return {event: sorted(causes, key=lambda cause: cause.kind == "timer") for event, causes in found.items()}


def _event(event: Name, notes: dict[Name, str]) -> Text:
    line = Text(event, style=EVENT)
    labels = [note for note in notes.get(event, "").split("; ") if note and not note.startswith("heard by")]
    return line.append(f"  {'; '.join(labels)}" if labels else "", style="bold")


def _reaction(reaction: Reaction) -> Text:
    line = Text(f"{reaction.context}: {sentence(reaction)}, ")
    return line.append(" or ".join(_short(command) for command in reaction.commands), style=COMMAND)


def _near(event: Name, panel: Panel) -> str:
    """The event's name; without its context in a panel of the same context."""
    return _short(event) if event.startswith(f"{panel.context}.") else event


def _short(name: Name) -> str:
    return name.partition(".")[2]
