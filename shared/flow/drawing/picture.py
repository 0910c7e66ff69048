"""The parts of an SVG picture that needs nothing from elsewhere: notes with text, arrows, and the frame around them."""

from collections.abc import Iterable, Iterator
from html import escape
from textwrap import wrap
from typing import NamedTuple

from shared.flow.drawing.palette import INK, Colour

LINE = 15
PADDING = 7
SMALL_FITS = 6 / 5
"""How many more characters of small print fit into a line."""

STYLE = f"""text{{font:13px 'Helvetica Neue',Arial,sans-serif;fill:{INK}}}
.small{{font-size:11px;fill:#444}}.head{{font-size:17px;font-weight:bold}}.columns{{font-size:11px;fill:#666}}
.frame{{fill:#fafafa;stroke:#bbb}}.arrow{{fill:none;stroke:#777;stroke-width:1.2}}.lane{{stroke:#ccc;stroke-width:1}}"""


class Box(NamedTuple):
    """A note with its lines of text, in large and in small print."""

    large: tuple[str, ...]
    small: tuple[str, ...]
    width: float

    @property
    def height(self) -> int:
        """The height that the lines need."""
        return (len(self.large) + len(self.small)) * LINE + 2 * PADDING


def box(text: str, small: Iterable[str], width: float, characters: int) -> Box:
    """Fold the texts into a note; `characters` fit into a line of large print."""
    folded = [line for one in small for line in wrap(one, int(characters * SMALL_FITS))]
    return Box(tuple(wrap(text, characters)), tuple(folded), width)


def note(
    box: Box, x: float, y: float, colour: Colour, *, radius: int = 3, line: str = "1", dash: str = ""
) -> Iterator[str]:
    """The elements of a note; `x` and `y` are its upper left corner."""
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    yield (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{box.width}" height="{box.height}" rx="{radius}"'
        f' fill="{colour.fill}" stroke="{colour.line}" stroke-width="{line}"{dashed}/>'
    )
    lines = [(text, "") for text in box.large] + [(text, ' class="small"') for text in box.small]
    for number, (text, style) in enumerate(lines):
        down = y + PADDING + (number + 0.8) * LINE
        yield f'<text{style} x="{x + box.width / 2:.1f}" y="{down:.1f}" text-anchor="middle">{escape(text)}</text>'


def arrow(path: str) -> str:
    """An arrow along a path."""
    return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>'


def picture(parts: Iterable[str], width: float, height: float, title: str) -> str:
    """The whole picture as text."""
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' width="{width:.0f}" height="{height:.0f}">',
            f"<title>{escape(title)}</title>",
            f"<style>{STYLE}</style>",
            '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#777"/></marker></defs>',
            f'<rect width="{width:.0f}" height="{height:.0f}" fill="#fff"/>',
            *parts,
            "</svg>",
        )
    )
