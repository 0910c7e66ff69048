"""One stream in memory: its bounds, dedup window, message TTLs and schedules."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import islice
from typing import Any, NamedTuple, Protocol

from shared.adapters.memory.bounds import beyond_history, check_expected, check_subject, header_bytes
from shared.adapters.memory.subjects import matcher, transform
from shared.adapters.memory.timing_headers import NEXT, SCHEDULER, TTL, Schedule, parse_schedule, parse_ttl_ns
from shared.adapters.virtual_time import VirtualClock
from shared.ports.broker import BrokerRefusedError, Outgoing, Published, Stored, StreamInfo
from shared.ports.clock import moment
from shared.wire.messages import MSG_ID, SCHEDULE, SCHEDULE_TARGET, SCHEDULE_TTL, rfc3339

BATCH_AT_MOST = 1_000
DUPLICATE_WINDOW_NS = 120 * 10**9
"""The server's default."""

_DROPPED_WHEN_DUE = {MSG_ID, SCHEDULE, SCHEDULE_TARGET, SCHEDULE_TTL}


class StoredMessage(NamedTuple):
    """A message in the stream."""

    sequence: int
    at_ns: int
    subject: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def size(self) -> int:
        """Its bytes on the wire, headers included."""
        return len(self.body) + header_bytes(self.headers)

    def as_stored(self, stream: str) -> Stored:
        """The message as a reader receives it, with the headers that the server adds."""
        at = moment(self.at_ns)
        headers = {
            **self.headers,
            "Nats-Stream": stream,
            "Nats-Subject": self.subject,
            "Nats-Sequence": str(self.sequence),
            "Nats-Time-Stamp": rfc3339(at),
        }
        return Stored(self.sequence, at, self.subject, headers, self.body)


class StreamObserver(Protocol):
    """A consumer, as its stream knows it."""

    def on_stored(self, message: StoredMessage) -> None:
        """Called after a message was stored."""
        ...

    def on_removed(self, sequence: int) -> None:
        """Called after a message was removed."""
        ...


class Stream:
    """A stream with a configuration of the JetStream API; keys that no Chorus stream needs are ignored."""

    def __init__(self, config: Mapping[str, Any], clock: VirtualClock, created: str) -> None:
        self.created = created
        self.last_sequence = 0
        self.messages: dict[int, StoredMessage] = {}
        self.observers: list[StreamObserver] = []
        self.deleted = False
        self._clock = clock
        self._ids: dict[str, tuple[int, int]] = {}
        """(sequence, end of the dedup window) by message id."""
        self._id_expiries: deque[tuple[int, str]] = deque()
        self._expiries: list[tuple[int, int]] = []
        """A heap of (expiry, sequence)."""
        self._schedules: dict[str, int] = {}
        self._bytes = 0
        self.configure(config)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Apply a new configuration."""
        self.config = config
        self.name: str = config["name"]
        self.accepts = matcher(config["subjects"])
        change = config.get("subject_transform")
        self._transform = transform(change["src"], change["dest"]) if change else str
        self._window_ns: int = config.get("duplicate_window", DUPLICATE_WINDOW_NS)

    @property
    def is_work_queue(self) -> bool:
        """Whether an acknowledged message is deleted."""
        return bool(self.config.get("retention") == "workqueue")

    def info(self) -> StreamInfo:
        """Identity, bounds and metadata."""
        self.expire()
        first = next(iter(self.messages), self.last_sequence + 1 if self.last_sequence else 0)
        metadata = self.config.get("metadata") or {}
        return StreamInfo(self.created, first, self.last_sequence, len(self.messages), metadata)

    def store(self, message: Outgoing) -> Published:
        """Store one message unless its id is known; raises BrokerRefusedError."""
        self.expire()
        timing = self._check(message)
        known = self._ids.get(message.headers.get(MSG_ID, ""))
        if known is not None:
            return Published(self.name, known[0], True)
        self._make_room(1)
        return Published(self.name, self._append(message, timing), False)

    def store_batch(self, messages: Sequence[Outgoing], name: str) -> int:
        """Store all messages or none, marked as the batch of this name; raises BrokerRefusedError."""
        self.expire()
        if len(messages) > BATCH_AT_MOST:
            raise BrokerRefusedError(10199, f"atomic publish batch is too large: {BATCH_AT_MOST}")
        timings = [self._check(message) for message in messages]
        ids = [message.headers[MSG_ID] for message in messages if MSG_ID in message.headers]
        if len(set(ids)) < len(ids) or not self._ids.keys().isdisjoint(ids):
            raise BrokerRefusedError(10201, "atomic publish batch contains duplicate message id")
        scheduled = [message.subject for message in messages if SCHEDULE in message.headers]
        if len(set(scheduled)) < len(scheduled):
            raise BrokerRefusedError(10111, "batch rollup sub invalid")
        self._make_room(len(messages))
        for number, (message, timing) in enumerate(zip(messages, timings, strict=True), 1):
            headers = {**message.headers, "Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
            if number == len(messages):
                headers["Nats-Batch-Commit"] = "1"
            self._append(message._replace(headers=headers), timing)
        return self.last_sequence

    def matching(self, subject: str, first: int, last: int, at_most: int) -> list[StoredMessage]:
        """The messages between two sequences that match a subject, in order."""
        self.expire()
        matches = matcher((subject,))
        between = (message for message in self.messages.values() if first <= message.sequence <= last)
        return list(islice((message for message in between if matches(message.subject)), at_most))

    def remove(self, sequence: int) -> None:
        """Remove one message, if it is there."""
        message = self.messages.pop(sequence, None)
        if message is None:
            return
        self._bytes -= message.size
        if self._schedules.get(message.subject) == sequence:
            del self._schedules[message.subject]
        for observer in self.observers:
            observer.on_removed(sequence)

    def expire(self) -> None:
        """Remove expired message ids and messages."""
        now_ns = self._clock.now_ns()
        while self._id_expiries and self._id_expiries[0][0] <= now_ns:
            expires_ns, message_id = self._id_expiries.popleft()
            if self._ids.get(message_id, (0, 0))[1] == expires_ns:
                del self._ids[message_id]
        while self._expiries and self._expiries[0][0] <= now_ns:
            self.remove(heappop(self._expiries)[1])

    def copy(self) -> "Stream":
        """A copy without consumers, whose schedules are not armed."""
        copied = Stream(self.config, self._clock, self.created)
        copied.last_sequence = self.last_sequence
        copied.messages = dict(self.messages)
        copied._ids = dict(self._ids)
        copied._id_expiries = self._id_expiries.copy()
        copied._expiries = list(self._expiries)
        copied._bytes = self._bytes
        return copied

    def arm_schedules(self) -> None:
        """Arm all schedules, as a starting server does."""
        for message in self.messages.values():
            if (schedule := self._schedule(message.subject, message.headers)) is not None:
                self._arm(message, schedule)

    def _check(self, message: Outgoing) -> tuple[int | None, Schedule | None]:
        """The TTL and the schedule of the message; raises BrokerRefusedError when the stream cannot store it."""
        headers = message.headers
        check_subject(message.subject)
        check_expected(headers, self.last_sequence)
        ttl_ns = parse_ttl_ns(headers, allowed=self.config.get("allow_msg_ttl", False))
        schedule = self._schedule(message.subject, headers)
        at_most = self.config.get("max_msg_size", -1)
        if 0 <= at_most < len(message.body) + header_bytes(headers):
            raise BrokerRefusedError(10054, "message size exceeds maximum allowed")
        return ttl_ns, schedule

    def _schedule(self, subject: str, headers: Mapping[str, str]) -> Schedule | None:
        allowed = self.config.get("allow_msg_schedules", False)
        return parse_schedule(subject, headers, allowed=allowed, accepts=self.accepts)

    def _make_room(self, count: int) -> None:
        at_most = self.config.get("max_msgs", -1)
        if at_most < 0 or len(self.messages) + count <= at_most:
            return
        if self.config.get("discard") == "new":
            raise BrokerRefusedError(10077, "maximum messages exceeded")
        for sequence in list(self.messages)[: len(self.messages) + count - at_most]:
            self.remove(sequence)

    def _append(self, message: Outgoing, timing: tuple[int | None, Schedule | None]) -> int:
        ttl_ns, schedule = timing
        now_ns = self._clock.now_ns()
        self.last_sequence += 1
        stored = StoredMessage(
            self.last_sequence, now_ns, self._transform(message.subject), message.headers, message.body
        )
        if schedule is not None and (replaced := self._schedules.get(stored.subject)) is not None:
            self.remove(replaced)
        self.messages[stored.sequence] = stored
        self._bytes += stored.size
        if (message_id := stored.headers.get(MSG_ID)) is not None:
            self._ids[message_id] = (stored.sequence, now_ns + self._window_ns)
            self._id_expiries.append((now_ns + self._window_ns, message_id))
        for age_ns in (ttl_ns, self.config.get("max_age") or None):
            if age_ns is not None:
                heappush(self._expiries, (now_ns + age_ns, stored.sequence))
        if schedule is not None:
            self._arm(stored, schedule)
        else:
            self._schedules.pop(stored.subject, None)
        for observer in list(self.observers):
            observer.on_stored(stored)
        self._enforce_max_bytes()
        for sequence in beyond_history(self.config, self.messages.values(), stored.subject):
            self.remove(sequence)
        return stored.sequence

    def _enforce_max_bytes(self) -> None:
        at_most = self.config.get("max_bytes", -1)
        while 0 <= at_most < self._bytes:
            self.remove(next(iter(self.messages)))

    def _arm(self, message: StoredMessage, schedule: Schedule) -> None:
        self._schedules[message.subject] = message.sequence
        self._clock.call_at(schedule.due_ns, partial(self._fire, message, schedule))

    def _fire(self, message: StoredMessage, schedule: Schedule) -> None:
        if self.deleted or self._schedules.get(message.subject) != message.sequence:
            return
        self.remove(message.sequence)
        headers = {name: value for name, value in message.headers.items() if name not in _DROPPED_WHEN_DUE}
        headers |= {SCHEDULER: message.subject, NEXT: "purge"}
        if schedule.ttl is not None:
            headers[TTL] = schedule.ttl
        self.store(Outgoing(schedule.target, headers, message.body))
