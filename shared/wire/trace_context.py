"""The header `traceparent` (W3C Trace Context): the trace that a message belongs to, and the span that it comes from.

The ids of spans follow from the ids of messages. So the parent of a span is known in another process, after a crash and
in a rebuilt database, and nobody has to remember it.
"""

import hashlib
import re
from typing import Final, NamedTuple

TRACEPARENT: Final = "traceparent"

_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


class TraceContext(NamedTuple):
    """A trace and one of its spans, as hex digits."""

    trace_id: str
    span_id: str
    flags: str = "01"

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{self.flags}"

    @property
    def is_sampled(self) -> bool:
        """Whether whoever began the trace wants to see its spans."""
        return int(self.flags, 16) & 1 == 1

    def at(self, span_id: str) -> "TraceContext":
        """Another span of the same trace."""
        return self._replace(span_id=span_id)


def parse_traceparent(text: str) -> TraceContext | None:
    """The value of the header, or None when it does not have the form of version 00."""
    found = _FORM.fullmatch(text)
    return None if found is None else TraceContext(*found.groups())


def decision_span(context: str, message_id: str) -> str:
    """The id of the span in which a context decides a message."""
    return _span_id(context, message_id)


def publication_span(message_id: str) -> str:
    """The id of the span in which a message is published; the message carries it."""
    return _span_id(message_id)


def attempt_span(event_id: str, attempt: int) -> str:
    """The id of the span of one attempt at the call that an event asks for; the request carries it."""
    return _span_id(event_id, str(attempt))


def _span_id(*names: str) -> str:
    return hashlib.blake2b(" ".join(names).encode(), digest_size=8).hexdigest()
