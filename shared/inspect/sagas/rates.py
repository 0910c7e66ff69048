"""Follows the sagas in EVENTS: how many begin and end per second, and how long they take, over the last minute."""

from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from msgspec import Struct

from shared.flow.rates.edges import WINDOW
from shared.ports.broker import Broker, Stored
from shared.saga import Saga
from shared.wire.messages import MalformedKeyError, MalformedSubjectError, parse_subject
from shared.wire.streams import EVENTS

KEYS_AT_MOST: Final = 200_000
"""The first events of this many sagas are remembered; the end of an older saga has no duration."""
DURATION_BUCKETS_S: Final = (0.05, 0.2, 0.5, 1.0, 5.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 21600.0, 86400.0, 604800.0)
"""The upper bounds of the buckets in which durations are counted: from milliseconds to a week."""


class _Ended(NamedTuple):
    at: datetime
    end: str
    took_s: float | None


class SagaRates(Struct, frozen=True, kw_only=True):
    """One kind of saga over the window. `ended_per_s` is by the name of the end, as are the durations in seconds."""

    saga: str
    begun_per_s: float
    ended_per_s: Mapping[str, float]
    p50_s: Mapping[str, float]
    p99_s: Mapping[str, float]


class Durations:
    """How long sagas took that reached one end, in the buckets of DURATION_BUCKETS_S and one more."""

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one saga."""
        self.counts[bisect_left(DURATION_BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


class SagaRate:
    """Watches one kind of saga: over the window, and since the beginning in `begun`, `ended` and `durations`."""

    def __init__(self, saga: Saga) -> None:
        self.saga = saga
        self.begun = 0
        self.ended: Counter[str] = Counter()
        self.durations: dict[str, Durations] = {}
        self._published: OrderedDict[str, set[str]] = OrderedDict()
        """The events of the saga that were seen, by key, until it ends."""
        self._began: dict[str, datetime] = {}
        self._begun: deque[datetime] = deque()
        self._ended: deque[_Ended] = deque()

    @property
    def events(self) -> set[str]:
        """The events, `context.Event`, that begin or end the saga."""
        return {*self.saga.first, *(event for end in self.saga.ends for event in end.events)}

    def add(self, event: str, key: str, at: datetime) -> None:
        """Count one event; the events of a key come in stream order."""
        if event not in self.events:
            return
        if event in self.saga.first and key not in self._began:
            self._began[key] = at
            self._begun.append(at)
            self.begun += 1
        published = self._published.setdefault(key, set())
        before = self.saga.end(published)
        published.add(event)
        end = self.saga.end(published)
        if end is not None and before is None:
            began = self._began.get(key)
            took_s = None if began is None else (at - began).total_seconds()
            self._ended.append(_Ended(at, end.name, took_s))
            self.ended[end.name] += 1
            if took_s is not None:
                self.durations.setdefault(end.name, Durations()).add(took_s)
        while len(self._published) > KEYS_AT_MOST:
            forgotten, _ = self._published.popitem(last=False)
            self._began.pop(forgotten, None)

    def rates(self, now: datetime, watched: timedelta) -> SagaRates:
        """The rates over the window, or over the shorter time that was watched."""
        since = now - WINDOW
        while self._begun and self._begun[0] < since:
            self._begun.popleft()
        while self._ended and self._ended[0].at < since:
            self._ended.popleft()
        seconds = max(1.0, min(WINDOW, watched).total_seconds())
        counts = Counter(ended.end for ended in self._ended)
        took = {end: sorted(e.took_s for e in self._ended if e.end == end and e.took_s is not None) for end in counts}
        return SagaRates(
            saga=self.saga.name,
            begun_per_s=len(self._begun) / seconds,
            ended_per_s={end: count / seconds for end, count in counts.items()},
            p50_s={end: found[len(found) // 2] for end, found in took.items() if found},
            p99_s={end: found[len(found) * 99 // 100] for end, found in took.items() if found},
        )


class SagaTail:
    """Reads the new events of EVENTS, and feeds them to the rates."""

    def __init__(self, broker: Broker, sagas: Iterable[Saga], *, first: int) -> None:
        self._broker = broker
        self.of_sagas = [SagaRate(saga) for saga in sagas]
        self._next = first
        self.events = 0
        """How many messages of any kind EVENTS has got since `first`."""

    async def advance(self) -> None:
        """Read to the present end of the stream; raises BrokerError."""
        last = (await self._broker.stream_info(EVENTS)).last_sequence
        if last < self._next:
            return
        found: list[Stored] = []
        for event in sorted({event for rate in self.of_sagas for event in rate.events}):
            context, _, kind = event.partition(".")
            pattern = f"evt.{context}.{kind}.*.*"
            found += [stored async for stored in self._broker.read(EVENTS, pattern, first=self._next, up_to=last)]
        for stored in sorted(found, key=lambda one: one.sequence):
            with suppress(MalformedKeyError, MalformedSubjectError):  # A stranger's message.
                subject = parse_subject(stored.subject)
                for rate in self.of_sagas:
                    rate.add(f"{subject.context}.{subject.type}", subject.key, stored.at)
        self.events += last - self._next + 1
        self._next = last + 1

    def rates(self, now: datetime, watched: timedelta) -> list[SagaRates]:
        """The rates of each kind of saga."""
        return [rate.rates(now, watched) for rate in self.of_sagas]
