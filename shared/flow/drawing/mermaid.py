"""Writes boards as a Mermaid flowchart, one subgraph for each context.

An event of another context stands again in the subgraph that hears it, so no arrow crosses a subgraph.
"""

from collections.abc import Iterable, Iterator

from shared.flow.drawing.board import Board, Note
from shared.flow.drawing.palette import INK, PALETTE

SHAPES = {"client": ("([", "])"), "request": ("([", "])"), "timer": ("{{", "}}"), "call": ("[/", "/]")}
"""The shapes of notes that are no rectangle."""


def flowchart(boards: Iterable[Board]) -> list[str]:
    """The lines of the flowchart."""
    lines = ["flowchart LR"]
    for number, board in enumerate(boards):
        lines += [
            f'  subgraph c{number}["{board.context}"]',
            "    direction LR",
            *_board(board, f"c{number}n"),
            "  end",
        ]
    for kind, colour in PALETTE.items():
        lines.append(f"  classDef {kind}Note fill:{colour.fill},stroke:{colour.line},color:{INK}")
    return [*lines, "  classDef marked stroke-width:4px"]


def _board(board: Board, prefix: str) -> Iterator[str]:
    for number, note in enumerate(board.notes):
        yield f"    {prefix}{number}{_note(note)}"
    if marked := [f"{prefix}{number}" for number, note in enumerate(board.notes) if note.is_marked]:
        yield f"    class {','.join(marked)} marked"
    for source, target in board.arrows:
        label = "<br/>".join(board.labels.get((source, target), ()))
        yield f"    {prefix}{source} -->{f'|{label}|' if label else ''} {prefix}{target}"


def _note(note: Note) -> str:
    begin, end = SHAPES.get(note.kind, ("[", "]"))
    label = "<br/>".join((note.text, *note.small)).replace('"', "'")
    return f'{begin}"{label}"{end}:::{note.kind}Note'
