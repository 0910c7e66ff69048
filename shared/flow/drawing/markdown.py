"""Writes the page of a whole system: its context map, and the event-storming board of each saga, as Mermaid."""

from collections.abc import Iterable, Iterator, Sequence

from shared.flow.drawing.board import board
from shared.flow.drawing.mermaid import flowchart
from shared.flow.graph import Flow
from shared.flow.relations import SHARED_KERNEL, Relation
from shared.flow.selection import beside, of_saga
from shared.saga import Saga

COMMAND = "chorus flow --format markdown"


def page(flow: Flow, sagas: Sequence[Saga], relations: Sequence[Relation]) -> list[str]:
    """The lines of the page."""
    return [
        "# Event storming and context map",
        "",
        f"`{COMMAND}` writes this page from the code of the contexts; do not edit it.",
        "Orange notes are events, blue ones commands, lilac ones policies and deadlines, pink ones calls to the",
        "outside, yellow ones clients. A bold frame is the pivot or an end of the saga.",
        "",
        "## Context map",
        "",
        "An arrow points from the context that publishes to the one that reads, or from a service or an outside system",
        "to the context that asks it. Each row of the table names the pattern of domain-driven design, and where it",
        "stands in the code. A shared kernel is imported, so it has a row and no arrow.",
        "",
        *_fenced(_map(relations)),
        "",
        "| upstream | downstream | pattern | through | where |",
        "|---|---|---|---|---|",
        *(_row(relation) for relation in relations),
        *(line for saga in sagas for line in _saga(flow, saga, sagas)),
        *_beside(flow, sagas),
    ]


def _saga(flow: Flow, saga: Saga, sagas: Sequence[Saga]) -> Iterator[str]:
    ends = "; ".join(f"{end.name} ({', '.join(f'`{event}`' for event in end.events)})" for end in saga.ends)
    yield from ("", f"## The saga {saga.name}", "")
    yield f"It begins with {' or '.join(f'`{event}`' for event in saga.first)}. Its ends: {ends}."
    for panel in of_saga(flow, saga, sagas).panels:
        yield from ("", f"### {panel.context} in {saga.name}", "")
        yield from _fenced(flowchart([board(panel)]))


def _beside(flow: Flow, sagas: Sequence[Saga]) -> Iterator[str]:
    yield from ("", "## Beside the sagas", "")
    yield "These reactions are on no board above: they follow an end of a saga, or have another key."
    for panel in beside(flow, sagas).panels:
        yield from ("", f"### {panel.context} beside the sagas", "")
        yield from _fenced(flowchart([board(panel)]))


def _map(relations: Sequence[Relation]) -> Iterator[str]:
    yield "flowchart LR"
    drawn = [relation for relation in relations if relation.pattern != SHARED_KERNEL]
    names = dict.fromkeys(name for relation in drawn for name in (relation.upstream, relation.downstream))
    numbers = {name: f"c{number}" for number, name in enumerate(names)}
    yield from (f"  {number}[{name}]" for name, number in numbers.items())
    for relation in drawn:
        label = "<br/>".join(relation.through)
        yield f'  {numbers[relation.upstream]} -- "{label}" --> {numbers[relation.downstream]}'


def _row(relation: Relation) -> str:
    through = ", ".join(f"`{one}`" for one in relation.through)
    files = ", ".join(f"`{file}`" for file in relation.files)
    return f"| {relation.upstream} | {relation.downstream} | {relation.pattern} | {through} | {files} |"


def _fenced(lines: Iterable[str]) -> Iterator[str]:
    yield from ("```mermaid", *lines, "```")
