"""Follows EVENTS for all open pages at once, and tells each page that it should load its numbers again.

The tail reads EVENTS in stream order, as far as it has got since its last look. Pages get no events, only the news that
there are some: a listener is one flag, so a slow browser queues nothing, and a thousand events a second are one message
a second for each page. A tail that falls too far behind leaves events out of its counts and says how many.
"""

from collections import Counter, deque
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

import anyio
from msgspec import Struct

from shared.flow.rates.edges import WINDOW, EdgeRate, Edges
from shared.inspect.sagas.rates import SagaRate, SagaRates
from shared.ports.broker import Broker, BrokerError, Stored
from shared.ports.clock import Clock
from shared.saga import Saga
from shared.wire.messages import CAUSATION_ID, MalformedKeyError, MalformedSubjectError, parse_subject
from shared.wire.streams import EVENTS

LOOK_S: Final = 0.5
EVENTS_AT_MOST: Final = 10_000
"""Events read per poll."""
PAUSE_S: Final = 1.0
"""A page hears of news no more often."""
QUIET_AT_MOST_S: Final = 5.0
"""Attempts and lags change without events, so a page hears something after this time at the latest."""
LISTENERS_AT_MOST: Final = 100


class TooManyListenersError(Exception):
    """Too many pages are open; another one is not told of news."""


class Pulse(Struct, frozen=True, kw_only=True):
    """The rates over the last minute, or over the time since the start. `events` are by `context.Event`."""

    per_s: float
    events: Mapping[str, float]
    sagas: tuple[SagaRates, ...]
    edges: tuple[EdgeRate, ...]
    left_out: int


class Listener:
    """One open page. With a key it hears of events under this key only."""

    def __init__(self, key: str = "") -> None:
        self._key = key
        self._news = anyio.Event()

    def note(self, keys: Collection[str] | None) -> None:
        """Hear of events under these keys; None stands for any."""
        if not self._key or keys is None or self._key in keys:
            self._news.set()

    async def wait(self, at_most_s: float) -> bool:
        """Wait for news; returns whether there are any. Any number of them before is one."""
        with anyio.move_on_after(at_most_s):
            await self._news.wait()
        had = self._news.is_set()
        self._news = anyio.Event()
        return had


class Tail:
    """Reads EVENTS. One task calls `run`."""

    def __init__(self, broker: Broker, clock: Clock, sagas: Iterable[Saga]) -> None:
        self._broker = broker
        self._clock = clock
        self._rates = [SagaRate(saga) for saga in sagas]
        self._edges = Edges()
        self._next = 0
        self._began: datetime = clock.now()
        self._counted: deque[tuple[datetime, Counter[str]]] = deque()
        self._left_out = 0
        self._pulse: tuple[datetime, Pulse] | None = None
        self._listeners: set[Listener] = set()

    async def run(self) -> None:
        """Look again and again until cancelled; while the broker is away, try again at each look."""
        while True:
            with suppress(BrokerError):
                await self.advance()
            await self._clock.sleep(LOOK_S)

    async def advance(self) -> None:
        """Read to the present end of EVENTS, and tell the listeners; raises BrokerError."""
        last = (await self._broker.stream_info(EVENTS)).last_sequence
        if not self._next or last < self._next - 1:  # At the beginning, or after the stream was recreated.
            self._next = last + 1
        if last < self._next:
            return
        skipped = max(0, last - self._next + 1 - EVENTS_AT_MOST)
        self._left_out += skipped
        self._next += skipped
        keys: set[str] = set()
        counts: Counter[str] = Counter()
        try:
            async for stored in self._broker.read(EVENTS, "evt.>", first=self._next, up_to=last):
                self._next = stored.sequence + 1  # Where the broker goes away, the next look begins here.
                with suppress(MalformedKeyError, MalformedSubjectError):  # A stranger's message.
                    self._count(stored, keys, counts)
            self._next = last + 1
        finally:
            self._pulse = None
            self._counted.append((self._clock.now(), counts))
            for listener in self._listeners:
                listener.note(None if skipped else keys)

    def _count(self, stored: Stored, keys: set[str], counts: Counter[str]) -> None:
        subject = parse_subject(stored.subject)
        event = f"{subject.context}.{subject.type}"
        counts[event] += 1
        keys.add(subject.key)
        self._edges.add(stored.event_id, stored.headers.get(CAUSATION_ID, ""), event, stored.at)
        for rate in self._rates:
            rate.add(event, subject.key, stored.at)

    @property
    def pulse(self) -> Pulse:
        """The rates now. They are computed once for all pages, at most at each look."""
        now = self._clock.now()
        if self._pulse is None or now - self._pulse[0] >= timedelta(seconds=LOOK_S):
            self._pulse = now, self._measure(now)
        return self._pulse[1]

    def _measure(self, now: datetime) -> Pulse:
        while self._counted and self._counted[0][0] < now - WINDOW:
            self._counted.popleft()
        watched = now - self._began
        seconds = max(1.0, min(WINDOW, watched) / timedelta(seconds=1))
        counts = sum((counted for _, counted in self._counted), Counter[str]())
        return Pulse(
            per_s=counts.total() / seconds,
            events={event: count / seconds for event, count in counts.items()},
            edges=self._edges.rates(now, seconds),
            sagas=tuple(rate.rates(now, watched) for rate in self._rates),
            left_out=self._left_out,
        )

    def news(self, key: str = "") -> AsyncIterator[Pulse]:
        """Yield the pulse whenever a page should load again: after news, at most every PAUSE_S; never ends.

        Raises:
            TooManyListenersError: LISTENERS_AT_MOST pages are open.
        """
        if len(self._listeners) >= LISTENERS_AT_MOST:
            raise TooManyListenersError(f"{LISTENERS_AT_MOST} pages are open; close some of them")
        return self._listen(Listener(key))

    async def _listen(self, listener: Listener) -> AsyncIterator[Pulse]:
        self._listeners.add(listener)
        try:
            while True:
                yield self.pulse
                await self._clock.sleep(PAUSE_S)
                await listener.wait(QUIET_AT_MOST_S - PAUSE_S)
        finally:
            self._listeners.discard(listener)
