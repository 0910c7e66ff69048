"""Draws boards as one SVG picture: a frame for each context, one below the other."""

from collections.abc import Iterable
from html import escape

from shared.flow.drawing.board import COLUMNS, Board
from shared.flow.drawing.layers import heights_of
from shared.flow.drawing.palette import PALETTE
from shared.flow.drawing.picture import arrow, box, note, picture

NOTE_WIDTH = 216
COLUMN_WIDTH = NOTE_WIDTH + 72
MARGIN = 24
GAP = 12
HEAD = 40
CHARACTERS = 28
LABEL_ABOVE, LABEL_BELOW, LABEL_BEFORE = 4, 12, 10
WIDTH = COLUMNS * COLUMN_WIDTH - (COLUMN_WIDTH - NOTE_WIDTH) + 4 * MARGIN

HEADINGS = ("when this is heard", "this reaction", "gives this command", "and these events may follow")
ROUND = ("client", "request", "timer")


def drawing(boards: Iterable[Board], title: str) -> str:
    """The picture as text."""
    parts: list[str] = []
    top = float(MARGIN)
    for board in boards:
        drawn, height = _board(board)
        parts.append(f'<g transform="translate({MARGIN},{top:.0f})">')
        parts.append(f'<rect class="frame" width="{WIDTH - 2 * MARGIN}" height="{height:.0f}" rx="8"/>')
        parts += [*drawn, "</g>"]
        top += height + MARGIN
    return picture(parts, WIDTH, top, title)


def _board(board: Board) -> tuple[list[str], float]:
    """The drawing of one board, and its height."""
    boxes = [box(one.text, one.small, NOTE_WIDTH, CHARACTERS) for one in board.notes]
    sizes = {number: float(one.height) for number, one in enumerate(boxes)}
    columns = [[n for n, one in enumerate(board.notes) if one.column == column] for column in range(COLUMNS)]
    tops = heights_of(columns, sizes, board.arrows, GAP)
    head = HEAD + MARGIN
    corners = {n: (MARGIN + one.column * COLUMN_WIDTH, head + tops[n]) for n, one in enumerate(board.notes)}
    parts = [f'<text class="head" x="{MARGIN}" y="28">{escape(board.context)}</text>']
    for column, heading in enumerate(HEADINGS):
        parts.append(f'<text class="columns" x="{MARGIN + column * COLUMN_WIDTH}" y="{HEAD + 10}">{heading}</text>')
    for source, target in board.arrows:
        x, y = corners[source][0] + NOTE_WIDTH, corners[source][1] + sizes[source] / 2
        end, down = corners[target][0] - 1, corners[target][1] + sizes[target] / 2
        bend = (end - x) / 2
        parts.append(arrow(f"M{x} {y:.1f}C{x + bend:.1f} {y:.1f} {end - bend:.1f} {down:.1f} {end} {down:.1f}"))
        for text, beside in zip(board.labels.get((source, target), ()), (-LABEL_ABOVE, LABEL_BELOW), strict=False):
            place = f'x="{end - LABEL_BEFORE}" y="{down + beside:.1f}" text-anchor="end"'
            parts.append(f'<text class="small" {place}>{escape(text)}</text>')
    for number, one in enumerate(board.notes):
        line, radius = ("3" if one.is_marked else "1"), (18 if one.kind in ROUND else 3)
        parts += note(boxes[number], *corners[number], PALETTE[one.kind], radius=radius, line=line)
    bottom = max((corners[n][1] + sizes[n] for n in corners), default=head)
    return parts, bottom + MARGIN
