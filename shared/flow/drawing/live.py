"""Puts measurements on boards: the rate of each event, and the rate and duration of each edge to a reaction."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from shared.config.units import span
from shared.flow.drawing.board import Arrow, Board
from shared.flow.rates.edges import EdgeRate

EVENT, REACTION, SAID = 0, 1, 3
"""The columns of a board."""


def rate(per_s: float) -> str:
    """A rate per second with two digits where it is small."""
    return f"{per_s:.0f}" if per_s >= 10 else f"{per_s:.1f}" if per_s >= 1 or not per_s else f"{per_s:.2f}"


def measured(board: Board, per_s: Mapping[str, float], edges: Sequence[EdgeRate]) -> Board:
    """The board with the rate of each event that came, and a label on each edge along which one came."""
    notes = tuple(
        replace(note, small=(*note.small, f"{rate(per_s[name])}/s")) if note.kind == "event" and name in per_s else note
        for note, name in zip(board.notes, board.names, strict=True)
    )
    return replace(board, notes=notes, labels=dict(_labels(board, edges)))


def _labels(board: Board, edges: Sequence[EdgeRate]) -> Iterator[tuple[Arrow, tuple[str, str]]]:
    follows: dict[int, list[int]] = {}
    for source, target in board.arrows:
        follows.setdefault(source, []).append(target)
    for source, target in board.arrows:
        if board.notes[source].column != EVENT:
            continue
        said = {board.names[event] for command in follows.get(target, ()) for event in follows.get(command, ())}
        if found := [edge for edge in edges if edge.cause == board.names[source] and edge.event in said]:
            yield (source, target), label(found)


def label(edges: Iterable[EdgeRate]) -> tuple[str, str]:
    """The rate of the busiest of these edges, and the time that it usually takes; each event comes of one decision."""
    busiest = max(edges, key=lambda edge: edge.per_s)
    return f"{rate(busiest.per_s)}/s", span(timedelta(seconds=busiest.p50_s))
