"""Closes the windows of a quiet stream, so that the last one does not stay open until the next event.

The clock never changes a figure. Once a window is final by the clock, the group publishes the event about it, whose
Occurred-At is the time from which the window is final; the broker stores it only if EVENTS has got no other event
meanwhile. The group hears its own event, which moves stream time on. So a rebuild closes the window at the same place.
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
"""The clock closes a window this long after it is final: the clocks of two machines may differ by as much."""

_log = structlog.get_logger("chorus.group")


class Quiet:
    """The open windows of one group. `closes_at` is the time from which the earliest one is final."""

    def __init__(self, broker: Broker, clock: Clock) -> None:
        self.closes_at: datetime | None = None
        self._broker = broker
        self._clock = clock
        self._handled: datetime | None = None
        """The `closes_at` for which `close` ran last: a window that stays open then waits for another event."""
        self._has_published = False
        """Whether `close` published an event then, which the group will hear."""

    @property
    def is_due(self) -> bool:
        """Whether a window is final by the clock, and `close` has not run for it."""
        return self._is_final and self.closes_at != self._handled

    @property
    def is_resting(self) -> bool:
        """Whether no window is final by the clock, apart from windows that have no event."""
        return not self._is_final or (self.closes_at == self._handled and not self._has_published)

    @property
    def _is_final(self) -> bool:
        return self.closes_at is not None and self._clock.now() >= self.closes_at + AFTER

    def begin(self, closes_at: datetime | None) -> None:
        """The stream was read to its end; it may have lost the last event that the group published about a window."""
        self.closes_at, self._handled = closes_at, None

    async def close(self, progress: Progress, batches: Batches, transact: Transact) -> None:
        """Publish the event about the final windows, at the end of EVENTS and nowhere else; raises BrokerError."""
        await progress.look_ahead()
        up_to, known, at = progress.up_to, progress.known, self.closes_at
        assert at is not None
        last = await self._broker.get(EVENTS, known.sequence)
        headers = {} if last is None else last.headers
        try:
            await transact(lambda transaction: batches.close(transaction, known, headers, at))
        except NothingStaysError as looked:
            await self._publish(looked.rows, up_to)

    async def _publish(self, rows: Sequence[JournalRow], up_to: int) -> None:
        """Publish the first of the events about windows, unless EVENTS has an event after `up_to`; raises BrokerError.

        Once the group hears it, it closes all windows that are final at its time, and the outbox publishes the others.
        """
        handled = self.closes_at
        for row in rows[:1]:
            try:
                headers = {**row.headers, EXPECTED_LAST: str(up_to)}
                await self._broker.publish(Outgoing(row.subject, headers, row.body))
            except BrokerRefusedError as error:
                _log.debug("windows stay open: another event came", reason=error.text)
                return
        self._handled, self._has_published = handled, bool(rows)
