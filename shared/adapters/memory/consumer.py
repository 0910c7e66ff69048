"""One durable pull consumer in memory: its position in the stream, and which request gets the next message.

Timers are asyncio's: they call back on the virtual loop.
"""

from asyncio import AbstractEventLoop, TimerHandle
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from shared.adapters.memory.pulls import ROUNDING_S, Inbox, Pin, PullRequest
from shared.adapters.memory.stream import StoredMessage, Stream, StreamObserver
from shared.adapters.memory.subjects import matcher
from shared.ports.broker import ConsumerInfo, Delivery

PIN_ID = "Nats-Pin-Id"


class Consumer(StreamObserver):
    """A consumer with the priority policy `pinned_client` and the ack policy `explicit` or `none`."""

    def __init__(
        self, config: Mapping[str, Any], stream: Stream, loop: AbstractEventLoop, new_pin: Callable[[], str]
    ) -> None:
        self.stream = stream
        self.pin = Pin(loop, config["priority_timeout"] / 1e9, new_pin, self._serve)
        self._loop = loop
        self._new_pin = new_pin
        self._sequence = 0
        self._next = 1
        self._last = 0
        self._unacknowledged: dict[int, float] = {}
        """When each unacknowledged message is redelivered, the oldest first."""
        self._redeliveries: list[int] = []
        self._delivery_counts: dict[int, int] = {}
        self._ack_timer: TimerHandle | None = None
        self._requests: list[PullRequest] = []
        self.configure(config)
        stream.observers.append(self)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Apply a new configuration."""
        self.config = config
        self.name: str = config["name"]
        self._matches = matcher(config.get("filter_subjects", (">",)))
        self._explicit = config["ack_policy"] == "explicit"
        self._matching = [
            message.sequence for message in self.stream.messages.values() if self._matches(message.subject)
        ]

    def info(self) -> ConsumerInfo:
        """The state of the consumer."""
        self.stream.expire()
        return ConsumerInfo(
            self._sequence, self._last, self._undelivered(), len(self._unacknowledged), self.pin.owner is not None
        )

    def copy_to(self, stream: Stream) -> "Consumer":
        """The same position in a copy of the stream; pins and requests do not outlive a server."""
        copied = Consumer(self.config, stream, self._loop, self._new_pin)
        copied._sequence, copied._next, copied._last = self._sequence, self._next, self._last
        copied._unacknowledged, copied._delivery_counts = dict(self._unacknowledged), dict(self._delivery_counts)
        copied._redeliveries = list(self._redeliveries)
        return copied

    def on_stored(self, message: StoredMessage) -> None:
        if self._matches(message.subject):
            self._matching.append(message.sequence)
            self._serve()

    def on_removed(self, sequence: int) -> None:
        index = bisect_left(self._matching, sequence)
        if index < len(self._matching) and self._matching[index] == sequence:
            del self._matching[index]
            self._unacknowledged.pop(sequence, None)
            self._delivery_counts.pop(sequence, None)
            self._redeliveries = [other for other in self._redeliveries if other != sequence]

    def pull(self, request: PullRequest) -> None:
        """Serve a request, let it wait, or refuse it."""
        if request.pin is not None and request.pin == self.pin.owner:
            self.pin.refresh()
        elif request.pin is not None and self.pin.owner is not None:
            request.report(423, "Nats-Pin-Id mismatch")
            return
        if len(self._requests) >= self.config["max_waiting"]:
            return  # nats-server 2.15.1 drops it and answers nothing.
        self._requests.append(request)
        self._serve()
        if request not in self._requests:
            return
        if request.no_wait:
            self._requests.remove(request)
            request.report(404, "No Messages")
        else:
            request.wait(self._loop, self._expire, self._progress)

    def cancel_requests(self, inbox: Inbox) -> None:
        """Forget the requests of an inbox that is closed."""
        for request in [request for request in self._requests if request.inbox is inbox]:
            self._requests.remove(request)
            request.cancel()

    def acknowledge(self, sequence: int) -> None:
        """Acknowledge a delivered message; a work queue then deletes it. Others are ignored."""
        if sequence >= self._next:
            return
        self._unacknowledged.pop(sequence, None)
        if self.stream.is_work_queue:
            self.stream.remove(sequence)
        self._serve()

    def reset(self, sequence: int) -> None:
        """Deliver from this sequence on, as if for the first time; requests and the pin stay."""
        self._sequence = 0
        self._next = max(sequence, 1)
        self._last = self._next - 1
        self._unacknowledged.clear()
        self._redeliveries.clear()
        self._delivery_counts.clear()
        self._serve()

    def redeliver_last(self) -> None:
        """Deliver the last message once more."""
        if self._last in self.stream.messages:
            self._redeliveries.append(self._last)
            self._serve()

    def close(self, code: int | None = None, description: str = "") -> None:
        """End all requests, with a status if a code is given."""
        self.pin.owner = None
        requests, self._requests = self._requests, []
        for request in requests:
            request.cancel()
            if code is not None:
                request.report(code, description)

    def _progress(self) -> tuple[int, int]:
        """The consumer sequence, and the stream sequence up to which nothing is undelivered."""
        searched = self._last if self._undelivered() else self.stream.last_sequence
        return self._sequence, max(searched, self._next - 1)

    def _undelivered(self) -> int:
        return len(self._matching) - bisect_left(self._matching, self._next)

    def _serve(self) -> None:
        self.stream.expire()
        while (
            self._requests
            and (sequence := self._next_sequence()) is not None
            and (request := self._next_request()) is not None
        ):
            self._deliver(request, sequence)

    def _next_sequence(self) -> int | None:
        """The message to deliver next."""
        if self._redeliveries:
            return self._redeliveries[0]
        if self._explicit and len(self._unacknowledged) >= self.config["max_ack_pending"]:
            return None
        index = bisect_left(self._matching, self._next)
        return self._matching[index] if index < len(self._matching) else None

    def _next_request(self) -> PullRequest | None:
        """The request to serve next: one of the pin's owner, or the first without a pin, which then gets it."""
        for request in list(self._requests):
            if self.pin.owner is None and request.pin is None:
                request.pin = self.pin.grant()
            if request.pin is not None and request.pin == self.pin.owner:
                return request
            if request.pin is not None:
                self._requests.remove(request)
                request.end(423, "Nats-Wrong-Pin-Id")
        return None

    def _deliver(self, request: PullRequest, sequence: int) -> None:
        if self._redeliveries:
            self._redeliveries.pop(0)
        else:
            self._next = sequence + 1
        self._sequence += 1
        self._last = max(self._last, sequence)
        self._delivery_counts[sequence] = self._delivery_counts.get(sequence, 0) + 1
        if self._explicit:
            self._unacknowledged.pop(sequence, None)
            self._unacknowledged[sequence] = self._loop.time() + self.config["ack_wait"] / 1e9
            self._arm_ack_timer()
        if request.remaining == 1:
            self._requests.remove(request)
        message, pending = self.stream.messages[sequence], self._undelivered()
        pin = self.pin.owner
        assert pin is not None
        ack_tokens = f"{self._delivery_counts[sequence]}.{sequence}.{self._sequence}.{message.at_ns}.{pending}"
        delivery = Delivery(
            sequence=sequence,
            consumer_sequence=self._sequence,
            pending=pending,
            at_ns=message.at_ns,
            subject=message.subject,
            headers={**message.headers, PIN_ID: pin},
            body=message.body,
            reply=f"$JS.ACK.{self.stream.name}.{self.name}.{ack_tokens}",
        )
        request.deliver(delivery, pin, self._loop.time())

    def _expire(self, request: PullRequest) -> None:
        self._requests.remove(request)
        request.end(408, "Request Timeout")

    def _arm_ack_timer(self) -> None:
        """Arm the timer that redelivers unacknowledged messages."""
        if self._ack_timer is None and self._unacknowledged:
            first = next(iter(self._unacknowledged.values()))
            self._ack_timer = self._loop.call_at(first, self._redeliver_late)

    def _redeliver_late(self) -> None:
        self._ack_timer = None
        now = self._loop.time() + ROUNDING_S
        late = [sequence for sequence, again_at in self._unacknowledged.items() if again_at <= now]
        for sequence in late:
            del self._unacknowledged[sequence]
        self._redeliveries.extend(late)
        self._arm_ack_timer()
        self._serve()
