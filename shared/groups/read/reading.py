"""Reads EVENTS for a group, in the order of the stream and from its position on.

A group has two consumers. The first one delivers only the events that the group hears. The second one delivers all of
EVENTS, for a group that is far behind: the server finds the events of eighteen types in 35 us for each event of the
stream, and needs 6 us for each when it looks for none (measured).
"""

from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import anyio
import structlog

from shared.engine.intake.reader import Phase, Reader
from shared.engine.monitor.troubles import Troubles
from shared.ports.broker import Broker, BrokerError, StreamInfo
from shared.ports.clock import Clock
from shared.ports.views import Known
from shared.readside.group import catch_up_of
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS

KEEP_ALIVE_S: Final = 0.1
READING: Final = "reading EVENTS"
"""The name of this source of trouble in alarms."""

_log = structlog.get_logger("chorus.group")


class Reading:
    """The consumers of the group `name`; `reader` is the one that it uses now."""

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        name: str,
        *,
        priority_timeout_s: float,
        batch_at_most: int,
        catch_up_from: int,
        wake: Callable[[], None],
        troubles: Troubles,
    ) -> None:
        self._live, self._catching_up = (
            Reader(
                broker,
                clock,
                EVENTS,
                consumer,
                priority_timeout_s=priority_timeout_s,
                wake=wake,
                pull_batch=batch_at_most,
            )
            for consumer in (name, catch_up_of(name))
        )
        self.reader = self._live
        self._catch_up_from = catch_up_from
        self._broker = broker
        self._clock = clock
        self._troubles = troubles
        self._lock = anyio.Lock()
        self._connection = -1
        """The connection on which the position was compared with EVENTS."""

    @property
    def has_begun(self) -> bool:
        """Whether a reader reads, or is about to."""
        return self.reader.phase is not Phase.IDLE

    @property
    def is_live(self) -> bool:
        """Whether the group reads the events that it hears, on the connection on which its position was compared."""
        is_reading = self.reader is self._live and self.reader.phase is Phase.READING
        return is_reading and self._connection == self._broker.reconnects

    @property
    def behind(self) -> int:
        """The number of events that are not folded: in the buffer, or not delivered yet."""
        newest = self.reader.newest
        return 0 if newest is None else self.reader.buffered + newest.pending

    async def begin(self, known: Known, forget: Callable[[], Awaitable[None]]) -> Known:
        """Begin to read after the position, and return it; call `forget` first when EVENTS was replaced.

        Raises:
            BrokerError: the broker is away, or a consumer is missing.
        """
        async with self._lock:
            self._connection = self._broker.reconnects
            info = await self._broker.stream_info(EVENTS)
            if not await self._is_same_stream(known, info):
                _log.warning("EVENTS is another stream, or an older copy: folding it again", known=known.sequence)
                await forget()
                known = Known()
            is_far_behind = info.last_sequence - known.sequence > self._catch_up_from
            self.reader = self._catching_up if is_far_behind else self._live
            await self.reader.read_from(known.sequence)
            return known._replace(created=info.created)

    async def ask_for_more(self) -> None:
        """Let the server send the next batch. Never raises: what was taken from the buffer has to be folded."""
        try:
            await self.reader.ask_for_more()
        except BrokerError as error:
            self._troubles.failed(READING, error)

    async def go_live(self) -> bool:
        """End a catch-up; the next `begin` reads only what the group hears. Returns whether there was a catch-up."""
        if self.reader is self._live:
            return False
        await self.stop(hand_over=True)
        return True

    async def stop(self, *, hand_over: bool) -> None:
        """Stop reading; `hand_over` lets another process have the consumer at once."""
        async with self._lock:
            await self.reader.stop(hand_over=hand_over)

    async def keep_alive(self) -> NoReturn:
        """Refresh the pin and the pulls for ever."""
        while True:
            async with self._lock:
                try:
                    await self.reader.keep_alive()
                except BrokerError as error:
                    self._troubles.failed(READING, error)
            self._troubles.check_permissions()
            await self._clock.sleep(KEEP_ALIVE_S)

    async def _is_same_stream(self, known: Known, info: StreamInfo) -> bool:
        """Whether EVENTS still has the last event where it was folded."""
        if not known.sequence:
            return True
        if info.created != known.created or info.last_sequence < known.sequence:
            return False
        stored = await self._broker.get(EVENTS, known.sequence)
        return stored is None or stored.headers.get(MSG_ID, "") == known.message_id
