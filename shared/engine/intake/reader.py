"""Keeps the order per key on the way in: reads one partition of one stream without a gap, with the pin of its consumer.

The position in our database is the truth; the server's cursor only follows it. So before the first read, and after any
gap, the reader resets the consumer to our position. Each such epoch has its own inbox subject, so a message that an
older epoch asked for cannot arrive in a newer one.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum

import structlog

from shared.ports.broker import Broker, BrokerError, Delivery, PullEpoch, Status
from shared.ports.clock import Clock
from shared.wire.streams import EVENTS

PULL_BATCH = 256
PULL_EXPIRES_S = 30.0
HEARTBEAT_S = 2.0
SILENCE_AT_MOST_S = 3 * HEARTBEAT_S
"""More than the 2.3 s of silence measured while a server stored 20,000 single commands with a sync each."""
LAST_DELIVERED = "Nats-Last-Consumer"
"""The header in which a heartbeat names the consumer sequence of the last delivery."""
NO_RESPONDERS = 503
DELETED = "Consumer Deleted"

_log = structlog.get_logger("chorus.reader")


class Phase(Enum):
    """The state of a reader."""

    IDLE = "idle"
    STANDBY = "standby"
    """Waits for the pin."""
    PINNED = "pinned"
    """Has the pin and waits for `read_from`."""
    READING = "reading"


class Reader:
    """Pulls from one durable consumer into a buffer.

    Call `keep_alive` several times per `priority_timeout`: it does everything that waits for the broker.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        stream: str,
        consumer: str,
        *,
        priority_timeout_s: float,
        wake: Callable[[], None],
        pull_batch: int = PULL_BATCH,
    ) -> None:
        self.stream = stream
        self.consumer = consumer
        self.phase = Phase.IDLE
        self.received = 0
        """The stream sequence up to which every message has reached the buffer."""
        self.consumer_sequence = 0
        self.epoch = 0
        self._buffer: deque[Delivery] = deque()
        self._broker = broker
        self._clock = clock
        self._refresh_s = priority_timeout_s / 3
        self._wake = wake
        self._pull_batch = pull_batch
        self._pulls: PullEpoch | None = None
        self._pin: str | None = None
        self._outstanding = 0
        """Messages that the server may still send for our pulls."""
        self._heard_at = 0.0
        self._pulled_at = 0.0
        self._gap = False
        self._lost = False
        self._heard = False
        """Whether the server has sent anything in this epoch."""
        self._connection = 0

    @property
    def buffered(self) -> int:
        """The number of deliveries in the buffer."""
        return len(self._buffer)

    @property
    def oldest(self) -> Delivery | None:
        """The delivery that has waited longest in the buffer."""
        return self._buffer[0] if self._buffer else None

    @property
    def newest(self) -> Delivery | None:
        """The last delivery in the buffer; its `pending` counts what the consumer still has after it."""
        return self._buffer[-1] if self._buffer else None

    def take(self, at_most: int) -> list[Delivery]:
        """Remove and return the next deliveries."""
        return [self._buffer.popleft() for _ in range(min(at_most, len(self._buffer)))]

    def count_up_to(self, sequence: int) -> int:
        """The number of deliveries in the buffer up to this stream sequence."""
        return sum(1 for delivery in self._buffer if delivery.sequence <= sequence)

    async def stand_by(self) -> None:
        """Begin an epoch without a pin. The server gives the pin with a message, once no other client has it."""
        await self._close(Phase.STANDBY)
        self._pin = None
        self._buffer.clear()
        await self._open()
        await self._pull(1)

    async def read_from(self, position: int) -> None:
        """Reset the consumer to `position` and read. A reader without a pin gets it with the first message."""
        self._buffer.clear()
        await self._resume(position)

    async def stop(self, *, hand_over: bool) -> None:
        """End the epoch; `hand_over` lets another process have the pin at once."""
        pinned = self._pin is not None
        await self._close(Phase.IDLE)
        self._pin = None
        self._buffer.clear()
        if pinned and hand_over:
            await self._broker.unpin(self.stream, self.consumer)

    async def keep_alive(self) -> None:
        """Refresh the pin, pull more, resume after a gap; go idle when the pin is lost or the server is silent."""
        if self.phase is Phase.IDLE:
            return
        now = self._clock.monotonic()
        reconnected = self._connection != self._broker.reconnects  # Pulls do not survive a reconnect.
        silent = self._outstanding > 0 and now - self._heard_at > SILENCE_AT_MOST_S
        if self._lost or reconnected or silent:
            if self.phase is not Phase.STANDBY and self._heard:  # Otherwise this epoch never began to read.
                _log.warning("pin lost", stream=self.stream, consumer=self.consumer, silent=silent)
            await self.stop(hand_over=False)
        elif self._gap:
            _log.warning("gap", stream=self.stream, consumer=self.consumer, after=self.received)
            await self._resume(self.received)
        elif self._pulls is not None and self._pin is not None and now - self._pulled_at > self._refresh_s:
            self._pulled_at = now
            self._outstanding = max(self._outstanding, 0) + 1
            await self._pulls.keep_alive(self._pin)
        elif self._pin is None and self._outstanding <= 0:
            await self._pull(1)
        await self.ask_for_more()

    async def ask_for_more(self) -> None:
        """Backpressure: let the server send only as many messages as the buffer has room for."""
        # While `_pulls` is None a new epoch is opening, and pulls by itself.
        if self.phase is Phase.READING and self._pulls is not None and not self._gap and self._pin is not None:
            missing = self._pull_batch - len(self._buffer) - max(self._outstanding, 0)
            if missing >= self._pull_batch // 2:
                await self._pull(missing)

    async def _resume(self, position: int) -> None:
        await self._close(self.phase)
        # Read the message at our position once more. Heartbeats name the last delivery, so after one delivery they show
        # when another client resets the consumer.
        again = position if self.stream == EVENTS and position else position + 1
        try:
            await self._broker.reset(self.stream, self.consumer, again)
        except BrokerError:
            self._lost = True  # The whole partition begins again, not only this reader.
            raise
        self.received = position
        self.consumer_sequence = 0
        await self._open()
        self._enter(Phase.READING)
        await self._pull(1 if self._pin is None else self._pull_batch)

    def _on_delivery(self, epoch: int, delivery: Delivery, pin: str | None) -> None:
        if epoch != self.epoch:
            return
        self._heard_at = self._clock.monotonic()
        self._heard = True
        self._outstanding -= 1
        if pin is not None and pin != self._pin:
            self._pin = pin
            self._pulled_at = self._heard_at  # The server counts from here until the next pull with this pin.
        if self.phase is Phase.STANDBY and pin is not None:
            self._enter(Phase.PINNED)
        elif self.phase is Phase.READING and not self._gap:
            if delivery.consumer_sequence != self.consumer_sequence + 1:
                self._gap = True
            else:
                self.consumer_sequence = delivery.consumer_sequence
                if delivery.sequence > self.received or self.stream != EVENTS:  # Redelivered: not acknowledged.
                    self.received = max(self.received, delivery.sequence)
                    self._buffer.append(delivery)
            self._wake()

    def _on_status(self, epoch: int, status: Status) -> None:
        if epoch != self.epoch:
            return
        self._heard_at = self._clock.monotonic()
        self._heard = True
        if status.code == 100:  # A heartbeat.
            delivered = int(status.headers.get(LAST_DELIVERED, self.consumer_sequence))
            if self.phase is Phase.READING and delivered != self.consumer_sequence:
                self._gap = True  # Another client moved the consumer; perhaps no later message shows it.
            return
        if status.code == 423:  # Another client has the pin.
            self._lost = True
            self._wake()
        elif status.code in (404, 408):  # A pull has ended, and asked for more than it got.
            self._outstanding -= int(status.headers.get("Nats-Pending-Messages", "1"))
        else:  # When the consumer is missing, the next request about it says so and raises the alarm.
            log = _log.debug if status.code == NO_RESPONDERS or status.description == DELETED else _log.warning
            log("pull ended", consumer=self.consumer, code=status.code, reason=status.description)
            self._lost = True
            self._wake()

    async def _open(self) -> None:
        epoch = self.epoch
        self._connection = self._broker.reconnects
        self._outstanding = 0
        self._gap = self._lost = self._heard = False
        self._heard_at = self._clock.monotonic()
        self._pulls = await self._broker.begin_epoch(
            self.stream,
            self.consumer,
            lambda delivery, pin: self._on_delivery(epoch, delivery, pin),
            lambda status: self._on_status(epoch, status),
        )

    async def _pull(self, batch: int) -> None:
        assert self._pulls is not None
        if self._outstanding <= 0:
            self._heard_at = self._clock.monotonic()
        self._outstanding += batch
        self._pulled_at = self._clock.monotonic()
        await self._pulls.pull(batch=batch, pin=self._pin, expires_s=PULL_EXPIRES_S, heartbeat_s=HEARTBEAT_S)

    async def _close(self, phase: Phase) -> None:
        self.epoch += 1
        if self._pulls is not None:
            pulls, self._pulls = self._pulls, None
            await pulls.close()
        self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        if phase is not self.phase:
            self.phase = phase
            self._wake()
