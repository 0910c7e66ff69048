"""Draws a saga as lanes: one for each context, time running down, and an arrow from each cause."""

from collections.abc import Sequence
from html import escape

from shared.config.units import span
from shared.export.rows import CLIENT, Row
from shared.flow.drawing.palette import PALETTE, Colour
from shared.flow.drawing.picture import arrow, box, note, picture
from shared.inspect.timeline.drawing import FAILURE_OR_UNDO

NOTE_WIDTH = 208
GUTTER = 48
"""Between two lanes, where arrows run; those of neighbouring causes run side by side."""

LANE_WIDTH = NOTE_WIDTH + GUTTER
MARGIN = 24
TIMES = 84
HEAD = 56
GAP = 16
CHARACTERS = 27
FAILURE = Colour("#ffab91", "#bf360c")
AHEAD = Colour("#fff", "#999")


def lanes(rows: Sequence[Row], title: str) -> str:
    """The picture as text. Notes that lie ahead are dashed; failures and undos are darker."""
    named = [*dict.fromkeys(row.lane for row in rows if row.lane != CLIENT)]
    if any(row.lane == CLIENT for row in rows):
        named.insert(0, CLIENT)
    x = {lane: TIMES + MARGIN + number * LANE_WIDTH for number, lane in enumerate(named)}
    boxes = [box(row.title, _small(row), NOTE_WIDTH, CHARACTERS) for row in rows]
    tops, top = [], float(HEAD)
    for one in boxes:
        tops.append(top)
        top += one.height + GAP
    parts: list[str] = []
    for lane, left in x.items():
        middle = left + NOTE_WIDTH / 2
        parts.append(f'<path class="lane" d="M{middle} {HEAD - 8}V{top:.0f}"/>')
        parts.append(f'<text class="head" x="{middle}" y="34" text-anchor="middle">{escape(lane)}</text>')
    for number, row in enumerate(rows):
        if row.cause is not None:
            start = (x[rows[row.cause].lane], tops[row.cause], boxes[row.cause].height)
            gutter = GUTTER / 2 + (row.cause % 5 - 2) * 6
            parts.append(arrow(_path(start, (x[row.lane], tops[number], boxes[number].height), gutter)))
    for number, row in enumerate(rows):
        if row.after is not None:
            down = tops[number] + boxes[number].height / 2 + 4
            parts.append(f'<text class="small" x="{TIMES}" y="{down:.1f}" text-anchor="end">{span(row.after)}</text>')
        dash = "5 4" if row.ahead is not None else ""
        parts += note(boxes[number], x[row.lane], tops[number], _colour(row), dash=dash)
    return picture(parts, TIMES + 2 * MARGIN + len(named) * LANE_WIDTH, top + MARGIN, title)


def _path(cause: tuple[float, float, float], effect: tuple[float, float, float], gutter: float) -> str:
    """From the side of a note down the gutter beside its lane, into the side of another note."""
    (x, y, height), (left, top, tall) = cause, effect
    leftwards = left < x
    side = x if leftwards else x + NOTE_WIDTH
    end = left - 1 if left > x else left + NOTE_WIDTH + 1
    return f"M{side} {y + height / 2:.1f}H{side + (-gutter if leftwards else gutter)}V{top + tall / 2:.1f}H{end}"


def _small(row: Row) -> tuple[str, ...]:
    return (f"then {' or '.join(row.told)}",) if row.ahead is not None and row.told else row.told


def _colour(row: Row) -> Colour:
    if row.ahead is not None:
        return AHEAD
    if row.message is None or row.message.kind == "cmd":
        return PALETTE["command"]
    if row.message.kind == "due":
        return PALETTE["timer"]
    return FAILURE if FAILURE_OR_UNDO.search(row.message.type) else PALETTE["event"]
