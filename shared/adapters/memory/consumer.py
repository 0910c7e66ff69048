"""One durable pull consumer in memory: its place in the stream, and who is served with what comes next."""

from asyncio import AbstractEventLoop, TimerHandle
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from shared.adapters.memory.pulls import ROUNDING_S, Inbox, Pin, Pull
from shared.adapters.memory.stream import Kept, Reader, Stream
from shared.adapters.memory.subjects import matcher
from shared.ports.broker import ConsumerInfo, Delivery

PIN_ID = "Nats-Pin-Id"


class Consumer(Reader):
    """A consumer with the priority policy `pinned_client`, that acknowledges explicitly or not at all."""

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
        self._pending: dict[int, float] = {}
        """When each unacknowledged message is delivered again, the oldest first."""
        self._again: list[int] = []
        self._times: dict[int, int] = {}
        self._watching: TimerHandle | None = None
        self._waiting: list[Pull] = []
        self.configure(config)
        stream.readers.append(self)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Be like this from now on."""
        self.config = config
        self.name: str = config["name"]
        self._matches = matcher(config["filter_subjects"])
        self._explicit = config["ack_policy"] == "explicit"
        self._matching = [kept.sequence for kept in self.stream.messages.values() if self._matches(kept.subject)]

    def info(self) -> ConsumerInfo:
        """How far it is."""
        self.stream.let_go()
        return ConsumerInfo(self._sequence, self._last, self._ahead(), len(self._pending), self.pin.held is not None)

    def copy_to(self, stream: Stream) -> "Consumer":
        """The same place in a copy of the stream; pins and requests do not outlive a server."""
        copied = Consumer(self.config, stream, self._loop, self._new_pin)
        copied._sequence, copied._next, copied._last = self._sequence, self._next, self._last
        copied._pending, copied._times = dict(self._pending), dict(self._times)
        copied._again = list(self._again)
        return copied

    def stored(self, kept: Kept) -> None:
        """A message came."""
        if self._matches(kept.subject):
            self._matching.append(kept.sequence)
            self._serve()

    def removed(self, sequence: int) -> None:
        """A message is gone."""
        index = bisect_left(self._matching, sequence)
        if index < len(self._matching) and self._matching[index] == sequence:
            del self._matching[index]
            self._pending.pop(sequence, None)
            self._times.pop(sequence, None)
            self._again = [again for again in self._again if again != sequence]

    def ask(self, pull: Pull) -> None:
        """Serve a request, let it wait, or refuse it."""
        if pull.pin is not None and pull.pin == self.pin.held:
            self.pin.refresh()
        elif pull.pin is not None and self.pin.held is not None:
            pull.tell(423, "Nats-Pin-Id mismatch")
            return
        if len(self._waiting) >= self.config["max_waiting"]:
            return  # The server (2.15.1) drops it without a word.
        self._waiting.append(pull)
        self._serve()
        if pull not in self._waiting:
            return
        if pull.no_wait:
            self._waiting.remove(pull)
            pull.tell(404, "No Messages")
        else:
            pull.wait(self._loop, self._expire, self._looked_at)

    def leave(self, inbox: Inbox) -> None:
        """Nobody listens there any more."""
        for pull in [pull for pull in self._waiting if pull.inbox is inbox]:
            self._waiting.remove(pull)
            pull.cancel()

    def acknowledge(self, sequence: int) -> None:
        """It is decided, so a work queue lets it go. What is not delivered yet cannot be acknowledged."""
        if sequence >= self._next:
            return
        self._pending.pop(sequence, None)
        if self.stream.is_work_queue:
            self.stream.remove(sequence)
        self._serve()

    def reset(self, sequence: int) -> None:
        """Deliver from there on, as if for the first time; requests and the pin stay."""
        self._sequence = 0
        self._next = max(sequence, 1)
        self._last = self._next - 1
        self._pending.clear()
        self._again.clear()
        self._times.clear()
        self._serve()

    def deliver_again(self) -> None:
        """Deliver the last message once more."""
        if self._last in self.stream.messages:
            self._again.append(self._last)
            self._serve()

    def close(self, code: int | None = None, description: str = "") -> None:
        """Serve nobody any more; with a code, all who wait are told."""
        self.pin.held = None
        waiting, self._waiting = self._waiting, []
        for pull in waiting:
            pull.cancel()
            if code is not None:
                pull.tell(code, description)

    def _looked_at(self) -> tuple[int, int]:
        """How many were delivered, and how far the stream was searched for what comes next."""
        searched = self._last if self._ahead() else self.stream.last_sequence
        return self._sequence, max(searched, self._next - 1)

    def _ahead(self) -> int:
        return len(self._matching) - bisect_left(self._matching, self._next)

    def _serve(self) -> None:
        self.stream.let_go()
        while self._waiting and (sequence := self._following()) is not None and (pull := self._served()) is not None:
            self._deliver(pull, sequence)

    def _following(self) -> int | None:
        """What is delivered next."""
        if self._again:
            return self._again[0]
        if self._explicit and len(self._pending) >= self.config["max_ack_pending"]:
            return None
        index = bisect_left(self._matching, self._next)
        return self._matching[index] if index < len(self._matching) else None

    def _served(self) -> Pull | None:
        """Whose turn it is: the pinned client's, or that of the first without a pin, who gets it."""
        for pull in list(self._waiting):
            if self.pin.held is None and pull.pin is None:
                pull.pin = self.pin.give()
            if pull.pin is not None and pull.pin == self.pin.held:
                return pull
            if pull.pin is not None:
                self._waiting.remove(pull)
                pull.end(423, "Nats-Wrong-Pin-Id")
        return None

    def _deliver(self, pull: Pull, sequence: int) -> None:
        if self._again:
            self._again.pop(0)
        else:
            self._next = sequence + 1
        self._sequence += 1
        self._last = max(self._last, sequence)
        self._times[sequence] = self._times.get(sequence, 0) + 1
        if self._explicit:
            self._pending.pop(sequence, None)
            self._pending[sequence] = self._loop.time() + self.config["ack_wait"] / 1e9
            self._watch()
        if pull.remaining == 1:
            self._waiting.remove(pull)
        kept, pending = self.stream.messages[sequence], self._ahead()
        pin = self.pin.held
        assert pin is not None
        place = f"{self._times[sequence]}.{sequence}.{self._sequence}.{kept.at_ns}.{pending}"
        delivery = Delivery(
            sequence=sequence,
            consumer_sequence=self._sequence,
            pending=pending,
            at_ns=kept.at_ns,
            subject=kept.subject,
            headers={**kept.headers, PIN_ID: pin},
            body=kept.body,
            reply=f"$JS.ACK.{self.stream.name}.{self.name}.{place}",
        )
        pull.deliver(delivery, pin, self._loop.time())

    def _expire(self, pull: Pull) -> None:
        self._waiting.remove(pull)
        pull.end(408, "Request Timeout")

    def _watch(self) -> None:
        """See to it that what is not acknowledged is delivered again."""
        if self._watching is None and self._pending:
            first = next(iter(self._pending.values()))
            self._watching = self._loop.call_at(first, self._check)

    def _check(self) -> None:
        self._watching = None
        now = self._loop.time() + ROUNDING_S
        late = [sequence for sequence, again_at in self._pending.items() if again_at <= now]
        for sequence in late:
            del self._pending[sequence]
        self._again.extend(late)
        self._watch()
        self._serve()
