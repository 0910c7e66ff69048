"""Closes the windows of a quiet stream, so that the last one does not stay open until the next event.

The clock counts no event. Once a window is final by the clock, the group publishes the event about it, with the time
from which it is final; the broker stores it only if EVENTS has got nothing in between. The group hears it, as it hears
all events of its own, and stream time moves on by it. So a rebuild closes the window at the same place.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from shared.groups.batch import Batches, NothingStaysError
from shared.groups.publish.buckets import EXPECTED_LAST
from shared.groups.read.progress import Progress
from shared.groups.transact import Transact
from shared.ports.broker import Broker, BrokerRefusedError, Outgoing
from shared.ports.clock import Clock
from shared.ports.rows import JournalRow
from shared.wire.streams import EVENTS

AFTER: Final = timedelta(seconds=5)
"""How long after it is final a window is closed by the clock: the clocks of two machines may differ by so much."""

_log = structlog.get_logger("chorus.group")


class Quiet:
    """The open windows of one group. `closes_at` is the time from which the earliest one is final."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.closes_at: datetime | None = None
        self._broker = broker
        self._clock = clock
        self._told: datetime | None = None
        """The time of which the stream was told last: a window that stays open then waits for another event."""
        self._is_heard_of = False
        """Whether there was anything to tell of that time, so that the group will hear of it."""

    @property
    def is_due(self) -> bool:
        """Whether a window is final by the clock, and the stream is to be told."""
        return self._is_final and self.closes_at != self._told

    @property
    def is_resting(self) -> bool:
        """Whether no window is final by the clock, but for those of which there is nothing to tell."""
        return not self._is_final or (self.closes_at == self._told and not self._is_heard_of)

    @property
    def _is_final(self) -> bool:
        return self.closes_at is not None and self._clock.now() >= self.closes_at + AFTER

    def begin(self, closes_at: datetime | None) -> None:
        """The stream was read to its end; it may have lost the last event that the group published about a window."""
        self.closes_at, self._told = closes_at, None

    async def close(self, progress: Progress, batches: Batches, transact: Transact) -> None:
        """Say of windows that they are final, at the end of EVENTS and nowhere else; raises BrokerError."""
        await progress.look_ahead()
        up_to, known, at = progress.up_to, progress.known, self.closes_at
        assert at is not None
        last = await self._broker.get(EVENTS, known.sequence)
        headers = {} if last is None else last.headers
        try:
            await transact(lambda transaction: batches.close(transaction, known, headers, at))
        except NothingStaysError as looked:
            await self._tell(looked.rows, up_to)

    async def _tell(self, rows: Sequence[JournalRow], up_to: int) -> None:
        """Publish the first of the events about windows, unless EVENTS has an event after `up_to`; raises BrokerError.

        Once the group hears it, it closes all windows that are final at its time, and the outbox publishes the others.
        """
        told = self.closes_at
        for row in rows[:1]:
            try:
                headers = {**row.headers, EXPECTED_LAST: str(up_to)}
                await self._broker.publish(Outgoing(row.subject, headers, row.body))
            except BrokerRefusedError as error:
                _log.debug("windows stay open: another event came", reason=error.text)
                return
        self._told, self._is_heard_of = told, bool(rows)
