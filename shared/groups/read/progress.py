"""Tracks how far a group has read EVENTS, and whether it has reached the end."""

from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager

import anyio

from shared.ports.broker import Broker
from shared.ports.views import Known
from shared.wire.streams import EVENTS


class Progress:
    """`known` is the last event that was folded.

    A group hears only some types of events. So other events may follow the last one that it folded, and `up_to` is the
    sequence up to which it has every event that it hears. `heard` are the (context, type) of these events. `hurry`
    makes the group's loop fold the next batch, or look ahead, at once.
    """

    def __init__(self, broker: Broker, heard: Set[tuple[str, str]], hurry: Callable[[], None]) -> None:
        self.known = Known()
        self.folded = self.set_aside = 0
        """Events folded, and set aside, since the process started."""
        self.is_current = False
        """Whether the group has read to an end of the stream since it began to read."""
        self.current = anyio.Event()
        self._confirmed = 0
        self._beginnings = 0
        self._heard = heard
        self._has_more = False
        """Whether the last event that was folded said that more of them wait."""
        self.awaited = 0
        """The number of queries that wait for the group to move. Its loop looks ahead for all of them."""
        self._hurry = hurry
        self._broker = broker
        self._moved = anyio.Event()
        self._is_looking = False

    @property
    def up_to(self) -> int:
        """The sequence up to which the tables have every event that the group hears."""
        return max(self.known.sequence, self._confirmed)

    def begin(self, known: Known) -> None:
        """The group begins to read after this position."""
        self.known = known
        self._beginnings += 1
        self.is_current = False
        self._confirmed = 0
        self._has_more = False
        if self.current.is_set():  # Otherwise tasks wait for this one.
            self.current = anyio.Event()

    def moved(self, known: Known, *, pending: int | None = None) -> None:
        """The group has folded up to this position; `pending` more events followed it, if that is known."""
        self.known = known
        self._has_more = bool(pending)
        if pending == 0:
            self._is_at_the_end()
        self._tell()

    async def look_ahead(self) -> None:
        """Look whether the stream has more for this group, once at a time; raises BrokerError.

        It reads the events after `up_to` until it finds one that the group hears. The consumer's count of pending
        messages would be cheaper, but for a moment it lacks a message that was just stored.
        """
        if self._is_looking or self._has_more:
            return
        self._is_looking = True
        try:
            await self._look()
        finally:
            self._is_looking = False

    async def _look(self) -> None:
        beginning, first = self._beginnings, self.up_to + 1
        last = (await self._broker.stream_info(EVENTS)).last_sequence
        if first <= last:
            async for stored in self._broker.read(EVENTS, "evt.>", first=first, up_to=last):
                if self._is_heard(stored.subject):
                    return
        if beginning != self._beginnings:
            return
        is_news = last > self.up_to or not self.is_current
        self._confirmed = max(self._confirmed, last)
        self._is_at_the_end()
        if is_news:
            self._tell()

    def _is_heard(self, subject: str) -> bool:
        _, context, kind, *_ = subject.split(".", 3)
        return (context, kind) in self._heard

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """A query waits for the group while the block runs: no events gather."""
        self.awaited += 1
        self._hurry()
        try:
            yield
        finally:
            self.awaited -= 1

    async def next_move(self) -> None:
        """Wait until the group has moved."""
        await self._moved.wait()

    def _is_at_the_end(self) -> None:
        self.is_current = True
        self.current.set()

    def _tell(self) -> None:
        self._moved.set()
        self._moved = anyio.Event()
