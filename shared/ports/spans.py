"""The engine's port to whatever collects spans."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol


class Span(NamedTuple):
    """A part of a trace that has ended. Ids are hex digits; `parent_id` is empty for the first span of a trace."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Literal["client", "consumer", "producer"]
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, str | int]
    error: str = ""


class Spans(Protocol):
    """Takes spans and sends them later. Losing some is allowed; holding up the engine is not."""

    def add(self, spans: Sequence[Span]) -> None:
        """Take spans; returns at once, from any thread."""
        ...
