"""The names of the four streams and of the bucket, the stream of each kind of subject, and its bound (docs/wire.md)."""

from collections.abc import Mapping
from typing import Final

COMMANDS: Final = "COMMANDS"
EVENTS: Final = "EVENTS"
TIMERS: Final = "TIMERS"
DEAD_LETTERS: Final = "DEAD_LETTERS"

SCHEMAS: Final = "SCHEMAS"
"""The key-value bucket of the schemas of all messages."""
SCHEMAS_STREAM: Final = f"KV_{SCHEMAS}"
SCHEMAS_SUBJECT: Final = f"$KV.{SCHEMAS}."
"""The beginning of the subject of each key."""

SUBJECT_BYTES_AT_MOST: Final = 3_000
"""A longer subject is refused: at a protocol line of 4,096 bytes the server ends the connection for good."""

READ: Final = (EVENTS, COMMANDS, TIMERS)
"""The streams that a context reads, in the order in which its loop takes their messages."""

STREAM_OF: Final[Mapping[str, str]] = {
    "cmd": COMMANDS,
    "evt": EVENTS,
    "timer": TIMERS,
    "due": TIMERS,
    "dlq": DEAD_LETTERS,
}
"""The stream by the first token of a subject."""

RELAYED: Final = "Chorus-Relayed"
"""A header that the adapter adds: the server stored this message as an answer to a direct get, and nobody sent it here.

A client that may read a message can name any reply subject, also one that it may not publish to.
"""


def stream_of(subject: str) -> str:
    """The stream that holds a subject."""
    return STREAM_OF[subject.split(".", 1)[0]]
