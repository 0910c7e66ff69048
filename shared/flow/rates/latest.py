"""Measures the last minute of EVENTS: the rate of each event, and the edges from cause to effect."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Final

from msgspec import Struct

from shared.flow.rates.edges import WINDOW, EdgeRate, Edges
from shared.ports.broker import Broker
from shared.wire.messages import CAUSATION_ID, MalformedKeyError, MalformedSubjectError, parse_subject
from shared.wire.streams import EVENTS

EVENTS_AT_MOST: Final = 20_000
"""With more events in the minute, the rates are those of the time that so many cover."""


class Latest(Struct, frozen=True, kw_only=True):
    """The rates over `seconds`. `events` are by `context.Event`."""

    seconds: float
    events: Mapping[str, float]
    edges: tuple[EdgeRate, ...]


async def read_latest(broker: Broker, now: datetime) -> Latest:
    """Read the end of EVENTS; raises BrokerError. Older events count as causes only."""
    last = (await broker.stream_info(EVENTS)).last_sequence
    edges, counts, since = Edges(), Counter[str](), now - WINDOW
    begins = since
    first = max(1, last - EVENTS_AT_MOST + 1)
    if last:
        async for stored in broker.read(EVENTS, "evt.>", first=first, up_to=last):
            if stored.sequence == first > 1:
                begins = max(since, stored.at)
            with suppress(MalformedKeyError, MalformedSubjectError):  # A stranger's message.
                subject = parse_subject(stored.subject)
                event = f"{subject.context}.{subject.type}"
                counts[event] += stored.at >= since
                edges.add(stored.event_id, stored.headers.get(CAUSATION_ID, ""), event, stored.at)
    seconds = max(1.0, (now - begins).total_seconds())
    rates = {event: count / seconds for event, count in counts.items() if count}
    return Latest(seconds=seconds, events=rates, edges=edges.rates(now, seconds))
