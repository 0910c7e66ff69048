"""The text of a failure of our code: the operator reads it in `chorus parked show`."""

import traceback
from typing import Final

FRAMES_KEPT: Final = 6
TRACEBACK_LENGTH_AT_MOST: Final = 8_000
"""The end of a longer traceback is kept, because the end names the error."""


def current_traceback() -> str:
    """The exception that is being handled, with its last frames, as text that SQLite and JSON can hold."""
    text = traceback.format_exc(limit=-FRAMES_KEPT)[-TRACEBACK_LENGTH_AT_MOST:]
    return text.encode(errors="backslashreplace").decode()
