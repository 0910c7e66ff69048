"""The four streams by name (docs/wire.md), and into which of them a subject leads."""

from collections.abc import Mapping
from typing import Final

COMMANDS: Final = "COMMANDS"
EVENTS: Final = "EVENTS"
TIMERS: Final = "TIMERS"
DEAD_LETTERS: Final = "DEAD_LETTERS"

READ: Final = (EVENTS, COMMANDS, TIMERS)
"""Those that a context listens to, in the order in which the loop takes from them."""

STREAM_OF: Final[Mapping[str, str]] = {
    "cmd": COMMANDS,
    "evt": EVENTS,
    "timer": TIMERS,
    "due": TIMERS,
    "dlq": DEAD_LETTERS,
}
"""By the first word of a subject."""
