"""The colours of event storming: orange events, blue commands, lilac policies, pink outside calls."""

from typing import Final, NamedTuple


class Colour(NamedTuple):
    """The fill and the line of a note, dark text on it."""

    fill: str
    line: str


PALETTE: Final = {
    "event": Colour("#ffcc80", "#e65100"),
    "command": Colour("#90caf9", "#0d47a1"),
    "policy": Colour("#e1bee7", "#6a1b9a"),
    "timer": Colour("#d1c4e9", "#4527a0"),
    "call": Colour("#f8bbd0", "#ad1457"),
    "client": Colour("#fff59d", "#f9a825"),
    "request": Colour("#fff59d", "#f9a825"),
}
INK: Final = "#222"
"""The colour of all text on a note."""
