"""Lays a saga out as a Gantt chart: a bar for each message, from its cause to itself.

A saga may take a millisecond here and three days there. So a pause is drawn as long as its logarithm: the sequence and
the proportion of neighbouring pauses can be seen, and no bar shrinks to nothing.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import log1p
from typing import Final, Literal, NamedTuple, TypeAlias

from shared.export.rows import CLIENT, Row
from shared.inspect.timeline.drawing import FAILURE_OR_UNDO

WIDTH: Final = 1000.0
AHEAD_FROM: Final = 900.0
"""Bars that lie ahead reach from here to the end; the others end before it."""
NARROW: Final = 4.0

Look: TypeAlias = Literal["event", "failure", "timer", "command", "ahead"]


class Bar(NamedTuple):
    """One bar; `left` and `width` are parts of WIDTH."""

    row: Row
    left: float
    width: float
    look: Look


def bars(rows: Sequence[Row]) -> tuple[Bar, ...]:
    """A bar for each row, in the sequence of the rows."""
    places = _places(sorted({_after_ms(row) for row in rows if row.after is not None}))
    until = AHEAD_FROM if any(row.ahead is not None for row in rows) else WIDTH

    def place(row: Row) -> float:
        return until * places[_after_ms(row)] if row.after is not None else 0.0

    found = []
    for row in rows:
        begins = place(row) if row.cause is None else place(rows[row.cause])
        ends = WIDTH if row.ahead is not None else place(row)
        width = max(ends - begins, NARROW)
        found.append(Bar(row, min(begins, WIDTH - width), width, _look(row)))
    return tuple(found)


def _places(times_ms: Sequence[float]) -> dict[float, float]:
    """The place of each time between 0 and 1."""
    lengths = [0.0]
    for earlier, later in pairwise(times_ms):
        lengths.append(lengths[-1] + log1p(later - earlier))
    whole = lengths[-1] or 1.0
    return {time: length / whole for time, length in zip(times_ms, lengths, strict=False)}


def _after_ms(row: Row) -> float:
    assert row.after is not None
    return row.after.total_seconds() * 1000


def _look(row: Row) -> Look:
    if row.ahead is not None:
        return "ahead"
    if row.message is None or row.lane == CLIENT:
        return "command"
    if row.message.kind == "due":
        return "timer"
    return "failure" if FAILURE_OR_UNDO.search(row.message.type) else "event"
