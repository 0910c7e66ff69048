"""Counts the edges between events: which event led to which, how often, and how long after it.

An event names the message that caused it. The latest events are remembered with their times; an edge from an older one
is not counted.
"""

from collections import OrderedDict, deque
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import Struct

from shared.wire.messages import split_edition

WINDOW: Final = timedelta(minutes=1)
CAUSES_AT_MOST: Final = 50_000
EDGES_AT_MOST: Final = 20_000
"""Edges kept of the last minute; the rates are those of the time that they cover."""


class EdgeRate(Struct, frozen=True, kw_only=True):
    """One edge over the last minute, between two `context.Event`."""

    cause: str
    event: str
    per_s: float
    p50_s: float
    p99_s: float


class _Edge(NamedTuple):
    at: datetime
    cause: str
    event: str
    took_s: float


class Edges:
    """The edges of the last minute."""

    def __init__(self) -> None:
        self._stored: OrderedDict[str, tuple[str, datetime]] = OrderedDict()
        self._edges: deque[_Edge] = deque(maxlen=EDGES_AT_MOST)

    def add(self, message_id: str, caused_by: str, event: str, at: datetime) -> None:
        """Count an event; a cause comes before its effect."""
        cause = self._stored.get(caused_by)
        if cause is not None:
            self._edges.append(_Edge(at, cause[0], event, (at - cause[1]).total_seconds()))
        self._stored[split_edition(message_id)[0]] = (event, at)
        while len(self._stored) > CAUSES_AT_MOST:
            self._stored.popitem(last=False)

    def rates(self, now: datetime, watched_s: float) -> tuple[EdgeRate, ...]:
        """The edges of the last minute, the busiest first, over the seconds that were watched."""
        while self._edges and self._edges[0].at < now - WINDOW:
            self._edges.popleft()
        if len(self._edges) == EDGES_AT_MOST:
            watched_s = max(1.0, (now - self._edges[0].at).total_seconds())
        took: dict[tuple[str, str], list[float]] = {}
        for edge in self._edges:
            took.setdefault((edge.cause, edge.event), []).append(edge.took_s)
        return tuple(
            EdgeRate(
                cause=cause,
                event=event,
                per_s=len(found) / watched_s,
                p50_s=sorted(found)[len(found) // 2],
                p99_s=sorted(found)[len(found) * 99 // 100],
            )
            for (cause, event), found in sorted(took.items(), key=lambda one: (-len(one[1]), one[0]))
        )
