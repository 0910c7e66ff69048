"""One partition of a context: a reader per stream, and the pin that makes this process its owner.

The process that has the pin of the partition's TIMERS consumer owns the partition: it decides the messages, publishes
the rows and runs the effects. The other readers of the partition follow. TIMERS leads because the server grants a pin
only together with a message, and on TIMERS we can publish a harmless one: a process that finds the pin free publishes a
short-lived `PartitionVacant` notice, and the server delivers it, with the pin, to one of those that wait.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import anyio
import structlog

from shared.derived.topology import consumer_name
from shared.engine.intake.reader import Phase, Reader
from shared.engine.monitor.troubles import Troubles
from shared.ports.broker import (
    Broker,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Delivery,
    Outgoing,
)
from shared.ports.clock import Clock
from shared.ports.rows import Position
from shared.wire.messages import due_subject, partition_of
from shared.wire.streams import COMMANDS, EVENTS, READ, TIMERS

_log = structlog.get_logger("chorus.partition")

BEGINNING = Position(0, "")
VACANCY_POLL_S = 0.4
"""How often a standby checks whether any process owns the partition."""
TAKEOVER_RETRY_S = 1.0
"""The pause before the next takeover when a consumer or a permission is missing."""
NOTICE = "PartitionVacant"
NOTICE_TTL = "10s"


class Partition:
    """The loop holds `lock` while it takes the partition over or releases it; the task `keep_alive` then waits."""

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
        self.is_owned = False
        self.must_be_compared = False
        """Whether a stream may have been replaced, so that the database has to be compared with it."""
        self.positions: dict[str, Position] = {}
        self.taken = 0
        """Messages that the loop has taken since this process began to own the partition."""
        self.lock = anyio.Lock(fast_acquire=True)
        self.readers = {
            stream: Reader(
                broker, clock, stream, consumer_name(context, number), priority_timeout_s=priority_timeout_s, wake=wake
            )
            for stream in streams
        }
        self._lead = self.readers[TIMERS]
        self._broker = broker
        self._clock = clock
        self._wake = wake
        self._notice = due_subject(context, NOTICE, _key_in(number, partitions))
        self._notices = f"due.{context}.{NOTICE}."
        """How the subject of a stored notice begins: the server inserts the partition."""
        self._troubles = troubles
        self._looked_at = float("-inf")
        self._no_takeover_until = float("-inf")
        self._is_owned_elsewhere = False
        self._barrier: _Barrier | None = None

    @property
    def delivered(self) -> list[str]:
        """The streams with messages that the loop has not taken, in the order in which it takes them."""
        return [stream for stream in READ if stream in self.readers and self.readers[stream].buffered]

    @property
    def is_leading(self) -> bool:
        """Whether this process has the pin of the leading consumer."""
        return self._lead.phase in (Phase.PINNED, Phase.READING)

    @property
    def has_known_owner(self) -> bool:
        """Whether this process reads the partition, or knows that another one owns it."""
        return (self.is_owned and not self.is_broken) or (self._is_owned_elsewhere and not self.is_leading)

    @property
    def is_broken(self) -> bool:
        """Whether we own the partition but do not read one of its streams: its position must be checked again."""
        if not self.is_owned:
            return False
        for reader in self.readers.values():  # Asked for each partition at each batch: no generator.
            if reader.phase is not Phase.READING:
                return True
        return self.must_be_compared

    @property
    def wants_rebalance(self) -> bool:
        """Whether the loop has to take the partition over or to release it."""
        if self.is_owned:
            return self.is_broken
        return self.is_leading and self._clock.monotonic() >= self._no_takeover_until

    async def keep_alive(self) -> None:
        """Refresh pins, pull, and stand by for the pin while another process has it. Failures become alarms."""
        try:
            await self._keep_alive()
        except BrokerError as error:
            self.failed(error)
        else:
            if self.has_known_owner:
                self._troubles.succeeded(f"partition {self.number}")

    async def _keep_alive(self) -> None:
        async with self.lock:
            if self._lead.phase is Phase.IDLE:
                await self._lead.stand_by()
            if self._lead.phase is Phase.STANDBY and self._clock.monotonic() - self._looked_at > VACANCY_POLL_S:
                self._looked_at = self._clock.monotonic()
                await self._offer_if_vacant()
            for reader in self.readers.values():
                await reader.keep_alive()

    async def check_consumers(self) -> None:
        """Raise BrokerRefusedError when a consumer is missing. Every missing one has an alarm of its own."""
        missing: BrokerRefusedError | None = None
        for reader in self.readers.values():
            try:
                await self._broker.consumer_info(reader.stream, reader.consumer)
            except BrokerRefusedError as error:
                self.failed(error)
                missing = error
        if missing is not None:
            raise missing

    def failed(self, error: BrokerError) -> None:
        """Report that `keep_alive` or a takeover failed."""
        self._troubles.failed(f"partition {self.number}", error)

    def pause_takeovers(self) -> None:
        """Wait before the next takeover: only an operator can add the missing consumer or permission."""
        self._no_takeover_until = self._clock.monotonic() + TAKEOVER_RETRY_S

    async def begin_reading(self) -> None:
        """Reset each consumer that we do not read yet to our position; COMMANDS, a work queue, to its beginning."""
        for stream, reader in self.readers.items():
            if reader.phase in (Phase.IDLE, Phase.PINNED):
                await reader.read_from(0 if stream == COMMANDS else self.positions.get(stream, BEGINNING).seq)

    async def release(self) -> None:
        """Stop reading, and hand the pins over."""
        self.is_owned = self.must_be_compared = False
        self.taken = 0
        self._barrier = None
        for reader in self.readers.values():
            try:
                await reader.stop(hand_over=True)
            except BrokerError as error:
                _log.debug("pin not handed over", consumer=reader.consumer, reason=str(error))

    async def take(self, stream: str, at_most: int) -> list[Delivery]:
        """Remove and return deliveries of one stream, in order, without notices.

        A timer waits for the events that came before it. Never raises: a delivery that has left the buffer must reach
        the loop.
        """
        reader = self.readers[stream]
        if reader.phase is not Phase.READING:
            return []
        taken: list[Delivery] = []
        try:
            if stream == TIMERS and EVENTS in self.readers:
                at_most = min(at_most, await self._ready_timers(reader, self.readers[EVENTS]))
                self._troubles.succeeded(f"timers of partition {self.number}")
            taken = reader.take(at_most)
            if stream == TIMERS and (notices := [one for one in taken if one.subject.startswith(self._notices)]):
                taken = [one for one in taken if one not in notices]
                with suppress(BrokerUnavailableError):  # The server then delivers them again, as long as they live.
                    await self._broker.acknowledge([notice.reply for notice in notices])
                if reader.buffered:
                    self._wake()  # Without a batch the loop would wait.
            self.taken += len(taken)
            await reader.ask_for_more()
        except BrokerError as error:
            self._troubles.failed(f"timers of partition {self.number}", error)
        return taken

    async def _ready_timers(self, timers: Reader, events: Reader) -> int:
        """The number of buffered timers that may be decided: all events older than the timers have left the buffer."""
        if self._barrier is not None and self._barrier.epoch != events.epoch:
            self._barrier = None
        if self._barrier is None:
            info = await self._broker.consumer_info(events.stream, events.consumer)
            if events.phase is not Phase.READING or timers.newest is None:
                return 0  # The reader is about to be reset, which makes this count worthless.
            self._barrier = _Barrier(
                events.epoch, info.delivered_consumer_sequence + info.pending, timers.newest.sequence
            )
        if events.buffered or events.consumer_sequence < self._barrier.events:
            return 0
        last, self._barrier = self._barrier.timers, None
        return timers.count_up_to(last)

    async def _offer_if_vacant(self) -> None:
        try:
            info = await self._broker.consumer_info(self._lead.stream, self._lead.consumer)
        except BrokerError:
            self._is_owned_elsewhere = False
            raise
        self._is_owned_elsewhere = info.pinned
        if not info.pinned:
            await self._broker.publish(Outgoing(self._notice, {"Nats-TTL": NOTICE_TTL}, b"{}"))


class _Barrier(NamedTuple):
    """Timers up to the stream sequence `timers` wait until EVENTS was read up to the consumer sequence `events`."""

    epoch: int
    events: int
    timers: int


def _key_in(partition: int, partitions: int) -> str:
    return next(key for key in map(str, range(partitions * 1000)) if partition_of(key, partitions) == partition)


def positions_of(partition: int, positions: Mapping[tuple[str, int], Position]) -> dict[str, Position]:
    """The positions of one partition, by stream."""
    return {stream: position for (stream, number), position in positions.items() if number == partition}
