"""Draws boards as one SVG picture that needs nothing from elsewhere: a frame for each context, one below the other."""

from collections.abc import Iterable, Iterator
from html import escape
from textwrap import wrap

from shared.flow.board import COLUMNS, Board, Note
from shared.flow.layers import heights_of
from shared.flow.palette import INK, PALETTE

NOTE_WIDTH = 216
COLUMN_WIDTH = NOTE_WIDTH + 72
MARGIN = 24
LINE = 15
PADDING = 7
GAP = 12
HEAD = 40
CHARACTERS = 28
"""Characters of a line of a note; small print has a fifth more."""

HEADINGS = ("when this is heard", "this reaction", "gives this command", "and these events may follow")
STYLE = f"""text{{font:13px 'Helvetica Neue',Arial,sans-serif;fill:{INK}}}
.small{{font-size:11px;fill:#444}}.head{{font-size:17px;font-weight:bold}}.columns{{font-size:11px;fill:#666}}
.frame{{fill:#fafafa;stroke:#bbb}}.arrow{{fill:none;stroke:#777;stroke-width:1.2}}"""


def drawing(boards: Iterable[Board], title: str) -> str:
    """The picture as text."""
    parts: list[str] = []
    top = float(MARGIN)
    width = COLUMNS * COLUMN_WIDTH - (COLUMN_WIDTH - NOTE_WIDTH) + 4 * MARGIN
    for board in boards:
        drawn, height = _board(board)
        parts.append(f'<g transform="translate({MARGIN},{top:.0f})">')
        parts.append(f'<rect class="frame" width="{width - 2 * MARGIN}" height="{height:.0f}" rx="8"/>')
        parts += [*drawn, "</g>"]
        top += height + MARGIN
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width} {top:.0f}"'
            f' width="{width}" height="{top:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
            f'<rect width="{width}" height="{top:.0f}" fill="#fff"/>',
            *parts,
            "</svg>",
        )
    )


def _board(board: Board) -> tuple[list[str], float]:
    """The drawing of one board, and its height."""
    texts = [_lines(note) for note in board.notes]
    sizes = {number: len(lines) * LINE + 2 * PADDING for number, lines in enumerate(texts)}
    columns = [[n for n, note in enumerate(board.notes) if note.column == column] for column in range(COLUMNS)]
    tops = heights_of(columns, sizes, board.arrows, GAP)
    head = HEAD + MARGIN
    places = {n: (MARGIN + note.column * COLUMN_WIDTH, head + tops[n]) for n, note in enumerate(board.notes)}
    parts = [f'<text class="head" x="{MARGIN}" y="28">{escape(board.context)}</text>']
    for column, heading in enumerate(HEADINGS):
        parts.append(f'<text class="columns" x="{MARGIN + column * COLUMN_WIDTH}" y="{HEAD + 10}">{heading}</text>')
    for source, target in board.arrows:
        x, y = places[source][0] + NOTE_WIDTH, places[source][1] + sizes[source] / 2
        end, down = places[target][0] - 1, places[target][1] + sizes[target] / 2
        bend = (end - x) / 2
        path = f"M{x} {y:.1f}C{x + bend:.1f} {y:.1f} {end - bend:.1f} {down:.1f} {end} {down:.1f}"
        parts.append(f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>')
    for number, note in enumerate(board.notes):
        parts += _note(note, texts[number], places[number], sizes[number])
    bottom = max((places[n][1] + sizes[n] for n in places), default=head)
    return parts, bottom + MARGIN


def _note(note: Note, lines: list[tuple[str, str]], place: tuple[float, float], height: float) -> Iterator[str]:
    (x, y), colour = place, PALETTE[note.kind]
    radius = 18 if note.kind in ("client", "timer") else 3
    yield (
        f'<rect x="{x}" y="{y:.1f}" width="{NOTE_WIDTH}" height="{height}" rx="{radius}" fill="{colour.fill}"'
        f' stroke="{colour.line}" stroke-width="{3 if note.is_marked else 1}"/>'
    )
    for number, (text, style) in enumerate(lines):
        down = y + PADDING + (number + 0.8) * LINE
        yield f'<text{style} x="{x + NOTE_WIDTH / 2}" y="{down:.1f}" text-anchor="middle">{escape(text)}</text>'


def _lines(note: Note) -> list[tuple[str, str]]:
    """The lines of a note, each with the attribute of its style."""
    small = [line for text in note.small for line in wrap(text, CHARACTERS * 6 // 5)]
    return [(line, "") for line in wrap(note.text, CHARACTERS)] + [(line, ' class="small"') for line in small]
