"""Which partitions this process holds: one reader leads, the others of the partition follow it.

Whoever holds the pin of the leading consumer has the partition: it decides its messages, publishes its rows and runs
its effects. TIMERS leads, because the server gives a pin only together with a message, and there one may be offered
that no context reads: a process that finds the pin free publishes a notice, with a short life, for the
server to deliver to somebody.
"""

from collections.abc import Callable, Mapping, Sequence

import anyio
import structlog

from shared.engine.intake.reader import Phase, Reader
from shared.engine.monitor.troubles import Troubles
from shared.ports.broker import Broker, BrokerError, BrokerRefusedError, Delivery, Outgoing
from shared.ports.clock import Clock
from shared.ports.rows import Position
from shared.wire.messages import due_subject, partition_of
from shared.wire.streams import COMMANDS, EVENTS, TIMERS

_log = structlog.get_logger("chorus.partitions")

NOWHERE = Position(0, "")
VACANT_POLL_S = 0.4
"""How often a process without the partition looks whether somebody has it."""
TAKE_OVER_AGAIN_S = 1.0
"""How long after a consumer or a permission was found missing."""
NOTICE = "PartitionVacant"
NOTICE_TTL = "10s"


class Partition:
    """One partition of a context: its readers by stream. `lock` keeps those who tend and those who attend apart."""

    def __init__(
        self,
        number: int,
        partitions: int,
        context: str,
        streams: Sequence[str],
        broker: Broker,
        clock: Clock,
        *,
        priority_timeout_s: float,
        wake: Callable[[], None],
        troubles: Troubles,
    ) -> None:
        self.number = number
        self.held = False
        self.positions: dict[str, Position] = {}
        self.lock = anyio.Lock(fast_acquire=True)
        self.readers = {
            stream: Reader(
                broker, clock, stream, f"{context}-{number}", priority_timeout_s=priority_timeout_s, wake=wake
            )
            for stream in streams
        }
        self.lead = self.readers[TIMERS]
        self._broker = broker
        self._clock = clock
        self._notice = due_subject(context, NOTICE, _key_in(number, partitions))
        self._troubles = troubles
        self._asked_at = float("-inf")
        self._rests_until = float("-inf")
        self._elsewhere = False
        self._barrier: _Barrier | None = None

    @property
    def leading(self) -> bool:
        """Whether the pin of the leading consumer is ours."""
        return self.lead.phase in (Phase.PINNED, Phase.READING)

    @property
    def settled(self) -> bool:
        """Whether it is read here, or known to be another process's."""
        return (self.held and not self.broken) or (self._elsewhere and not self.leading)

    @property
    def broken(self) -> bool:
        """Whether one of its streams is not read, or not any more, so that what we know has to be checked."""
        return self.held and any(reader.phase is not Phase.READING for reader in self.readers.values())

    @property
    def wants_attention(self) -> bool:
        """Whether the loop has to begin or to end something here."""
        return self.broken or (self.leading and not self.held and self._clock.monotonic() >= self._rests_until)

    async def keep_alive(self) -> None:
        """Keep pins alive, pull, and stand by for what is free; alarms tell what of it fails."""
        try:
            await self._keep_alive()
        except BrokerError as error:
            self.met(error)
        else:
            if self.settled:
                self._troubles.over(f"partition {self.number}")

    async def _keep_alive(self) -> None:
        async with self.lock:
            if self.lead.phase is Phase.IDLE:
                await self.lead.stand_by()
            if self.lead.phase is Phase.STANDBY and self._clock.monotonic() - self._asked_at > VACANT_POLL_S:
                self._asked_at = self._clock.monotonic()
                await self._offer_if_vacant()
            for reader in self.readers.values():
                await reader.keep_alive()

    async def check_consumers(self) -> None:
        """Raise BrokerRefusedError when a consumer is missing; the alarms name every one that is."""
        missing: BrokerRefusedError | None = None
        for reader in self.readers.values():
            try:
                await self._broker.consumer_info(reader.stream, reader.consumer)
            except BrokerRefusedError as error:
                self.met(error)
                missing = error
        if missing is not None:
            raise missing

    def met(self, error: BrokerError) -> None:
        """The partition could not be tended or taken over."""
        self._troubles.met(f"partition {self.number}", error)

    def rest(self) -> None:
        """Take it over no sooner than in a while: nothing but an operator can mend what it lacks."""
        self._rests_until = self._clock.monotonic() + TAKE_OVER_AGAIN_S

    async def begin_reading(self) -> None:
        """Reset every consumer that is not read yet to our position; a work queue to all that it still holds."""
        for stream, reader in self.readers.items():
            if reader.phase in (Phase.IDLE, Phase.PINNED):
                await reader.read_from(0 if stream == COMMANDS else self.positions.get(stream, NOWHERE).seq)

    async def let_go(self) -> None:
        """Read nothing more and let another process have the partition, or this one begin anew."""
        self.held = False
        self._barrier = None
        for reader in self.readers.values():
            try:
                await reader.stop(hand_over=True)
            except BrokerError as error:
                _log.debug("pin not handed over", consumer=reader.consumer, reason=str(error))

    async def _offer_if_vacant(self) -> None:
        self._elsewhere = False
        info = await self._broker.consumer_info(self.lead.stream, self.lead.consumer)
        self._elsewhere = info.pinned
        if not info.pinned:
            await self._broker.publish(Outgoing(self._notice, {"Nats-TTL": NOTICE_TTL}, b"{}"))

    async def take(self, stream: str, at_most: int) -> list[Delivery]:
        """Up to that many deliveries of one stream, in order; timers only after what was in EVENTS before them.

        Never raises: what has left the buffer must reach the loop.
        """
        reader = self.readers.get(stream)
        if reader is None or not reader.buffer or reader.phase is not Phase.READING:
            return []
        taken: list[Delivery] = []
        try:
            if stream == TIMERS and EVENTS in self.readers:
                at_most = min(at_most, await self._due(reader, self.readers[EVENTS]))
                self._troubles.over(f"timers of partition {self.number}")
            taken = [reader.buffer.popleft() for _ in range(min(at_most, len(reader.buffer)))]
            await reader.ask_for_more()
        except BrokerError as error:
            self._troubles.met(f"timers of partition {self.number}", error)
        return taken

    async def _due(self, timers: Reader, events: Reader) -> int:
        """How many of the due timers come after every event that was in the stream when we first saw them."""
        if self._barrier is not None and self._barrier.epoch != events.epoch:
            self._barrier = None
        if self._barrier is None:
            info = await self._broker.consumer_info(events.stream, events.consumer)
            if events.phase is not Phase.READING:
                return 0  # It is about to be reset, and what was counted would not count.
            self._barrier = _Barrier(
                events.epoch, info.delivered_consumer_sequence + info.pending, timers.buffer[-1].sequence
            )
        if events.buffer or events.consumer_sequence < self._barrier.events:
            return 0
        last, self._barrier = self._barrier.timers, None
        return sum(1 for delivery in timers.buffer if delivery.sequence <= last)


class _Barrier:
    """Timers up to the stream sequence `timers` wait for the events' consumer sequence `events` of one epoch."""

    __slots__ = ("epoch", "events", "timers")

    def __init__(self, epoch: int, events: int, timers: int) -> None:
        self.epoch = epoch
        self.events = events
        self.timers = timers


def _key_in(partition: int, partitions: int) -> str:
    return next(key for key in map(str, range(partitions * 1000)) if partition_of(key, partitions) == partition)


def positions_of(partition: int, positions: Mapping[tuple[str, int], Position]) -> dict[str, Position]:
    """The positions of one partition by stream."""
    return {stream: position for (stream, number), position in positions.items() if number == partition}
