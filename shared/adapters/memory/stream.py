"""One stream in memory: what it takes, what it keeps, and what it lets go of by itself."""

from collections import deque
from collections.abc import Mapping, Sequence
from functools import partial
from heapq import heappop, heappush
from itertools import islice
from typing import Any, NamedTuple, Protocol

from shared.adapters.memory.scheduling import NEXT, SCHEDULER, TTL, Schedule, life_ns, schedule
from shared.adapters.memory.subjects import matcher, transform
from shared.adapters.virtual_time import VirtualClock
from shared.ports.broker import BrokerRefusedError, Outgoing, Published, Stored, StreamInfo
from shared.ports.clock import moment
from shared.wire.messages import MSG_ID, SCHEDULE, SCHEDULE_TARGET, SCHEDULE_TTL, rfc3339

BATCH_AT_MOST = 1_000
DUPLICATE_WINDOW_NS = 120 * 10**9
"""What the server takes when nothing is configured."""

_NOT_FIRED = {MSG_ID, SCHEDULE, SCHEDULE_TARGET, SCHEDULE_TTL}


class Kept(NamedTuple):
    """A message as the stream keeps it."""

    sequence: int
    at_ns: int
    subject: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def size(self) -> int:
        """Its bytes on the wire, headers included."""
        return len(self.body) + _header_bytes(self.headers)

    def as_stored(self, stream: str) -> Stored:
        """As it is when it is read from the stream, with the headers that the server adds."""
        at = moment(self.at_ns)
        headers = {
            **self.headers,
            "Nats-Stream": stream,
            "Nats-Subject": self.subject,
            "Nats-Sequence": str(self.sequence),
            "Nats-Time-Stamp": rfc3339(at),
        }
        return Stored(self.sequence, at, self.subject, headers, self.body)


class Reader(Protocol):
    """Who wants to know what comes and goes: a consumer."""

    def stored(self, kept: Kept) -> None:
        """A message came."""
        ...

    def removed(self, sequence: int) -> None:
        """A message is gone."""
        ...


class Stream:
    """`config` is spelled as JetStream's API spells it; what a Chorus stream has no use for is not read."""

    def __init__(self, config: Mapping[str, Any], clock: VirtualClock, created: str) -> None:
        self.created = created
        self.last_sequence = 0
        self.messages: dict[int, Kept] = {}
        self.readers: list[Reader] = []
        self.gone = False
        self._clock = clock
        self._known: dict[str, tuple[int, int]] = {}
        self._forgotten: deque[tuple[int, str]] = deque()
        self._mortal: list[tuple[int, int]] = []
        self._schedules: dict[str, int] = {}
        self._bytes = 0
        self.configure(config)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Be like this from now on."""
        self.config = config
        self.name: str = config["name"]
        self.takes = matcher(config["subjects"])
        change = config.get("subject_transform")
        self._transform = transform(change["src"], change["dest"]) if change else str
        self._window_ns: int = config.get("duplicate_window", DUPLICATE_WINDOW_NS)

    @property
    def is_work_queue(self) -> bool:
        """Whether what is acknowledged leaves."""
        return bool(self.config.get("retention") == "workqueue")

    def info(self) -> StreamInfo:
        """Identity, bounds and metadata."""
        self.let_go()
        first = next(iter(self.messages), self.last_sequence + 1 if self.last_sequence else 0)
        metadata = self.config.get("metadata") or {}
        return StreamInfo(self.created, first, self.last_sequence, len(self.messages), metadata)

    def store(self, message: Outgoing) -> Published:
        """Take one message, or say that its id is known; raises BrokerRefusedError."""
        self.let_go()
        ordered = self._checked(message)
        known = self._known.get(message.headers.get(MSG_ID, ""))
        if known is not None:
            return Published(self.name, known[0], True)
        self._make_room(1)
        return Published(self.name, self._append(message, ordered), False)

    def store_batch(self, messages: Sequence[Outgoing], name: str) -> int:
        """Take all of them, or none, marked as the batch of that name; raises BrokerRefusedError."""
        self.let_go()
        if len(messages) > BATCH_AT_MOST:
            raise BrokerRefusedError(10199, f"atomic publish batch is too large: {BATCH_AT_MOST}")
        ordered = [self._checked(message) for message in messages]
        ids = [message.headers[MSG_ID] for message in messages if MSG_ID in message.headers]
        if len(set(ids)) < len(ids) or not self._known.keys().isdisjoint(ids):
            raise BrokerRefusedError(10201, "atomic publish batch contains duplicate message id")
        scheduled = [message.subject for message in messages if SCHEDULE in message.headers]
        if len(set(scheduled)) < len(scheduled):
            raise BrokerRefusedError(10111, "batch rollup sub invalid")
        self._make_room(len(messages))
        for number, (message, order) in enumerate(zip(messages, ordered, strict=True), 1):
            headers = {**message.headers, "Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
            if number == len(messages):
                headers["Nats-Batch-Commit"] = "1"
            self._append(message._replace(headers=headers), order)
        return self.last_sequence

    def matching(self, subject: str, first: int, last: int, at_most: int) -> list[Kept]:
        """What is kept between two sequences under a subject, in order."""
        self.let_go()
        matches = matcher((subject,))
        between = (kept for kept in self.messages.values() if first <= kept.sequence <= last)
        return list(islice((kept for kept in between if matches(kept.subject)), at_most))

    def remove(self, sequence: int) -> None:
        """Let one message go, if it is there."""
        kept = self.messages.pop(sequence, None)
        if kept is None:
            return
        self._bytes -= kept.size
        if self._schedules.get(kept.subject) == sequence:
            del self._schedules[kept.subject]
        for reader in self.readers:
            reader.removed(sequence)

    def let_go(self) -> None:
        """Forget the ids and the messages whose time is over."""
        now_ns = self._clock.now_ns()
        while self._forgotten and self._forgotten[0][0] <= now_ns:
            expires_ns, message_id = self._forgotten.popleft()
            if self._known.get(message_id, (0, 0))[1] == expires_ns:
                del self._known[message_id]
        while self._mortal and self._mortal[0][0] <= now_ns:
            self.remove(heappop(self._mortal)[1])

    def copy(self) -> "Stream":
        """The stream as it is, without its readers; its schedules run only once it is `resume`d."""
        copied = Stream(self.config, self._clock, self.created)
        copied.last_sequence = self.last_sequence
        copied.messages = dict(self.messages)
        copied._known = dict(self._known)
        copied._forgotten = self._forgotten.copy()
        copied._mortal = list(self._mortal)
        copied._bytes = self._bytes
        return copied

    def resume(self) -> None:
        """Arm what is scheduled, as a server does that starts."""
        for kept in self.messages.values():
            if (order := self._schedule(kept.subject, kept.headers)) is not None:
                self._arm(kept, order)

    def _checked(self, message: Outgoing) -> tuple[int | None, Schedule | None]:
        """What the headers order; raises BrokerRefusedError when the stream may not take such a message."""
        headers = message.headers
        life = life_ns(headers, allowed=self.config.get("allow_msg_ttl", False))
        order = self._schedule(message.subject, headers)
        at_most = self.config.get("max_msg_size", -1)
        if 0 <= at_most < len(message.body) + _header_bytes(headers):
            raise BrokerRefusedError(10054, "message size exceeds maximum allowed")
        return life, order

    def _schedule(self, subject: str, headers: Mapping[str, str]) -> Schedule | None:
        allowed = self.config.get("allow_msg_schedules", False)
        return schedule(subject, headers, allowed=allowed, takes=self.takes)

    def _make_room(self, count: int) -> None:
        at_most = self.config.get("max_msgs", -1)
        if at_most < 0 or len(self.messages) + count <= at_most:
            return
        if self.config.get("discard") == "new":
            raise BrokerRefusedError(10077, "maximum messages exceeded")
        for sequence in list(self.messages)[: len(self.messages) + count - at_most]:
            self.remove(sequence)

    def _append(self, message: Outgoing, ordered: tuple[int | None, Schedule | None]) -> int:
        life, order = ordered
        now_ns = self._clock.now_ns()
        self.last_sequence += 1
        kept = Kept(self.last_sequence, now_ns, self._transform(message.subject), message.headers, message.body)
        if order is not None and (replaced := self._schedules.get(kept.subject)) is not None:
            self.remove(replaced)
        self.messages[kept.sequence] = kept
        self._bytes += kept.size
        if (message_id := kept.headers.get(MSG_ID)) is not None:
            self._known[message_id] = (kept.sequence, now_ns + self._window_ns)
            self._forgotten.append((now_ns + self._window_ns, message_id))
        for life_of in (life, self.config.get("max_age") or None):
            if life_of is not None:
                heappush(self._mortal, (now_ns + life_of, kept.sequence))
        if order is not None:
            self._arm(kept, order)
        for reader in list(self.readers):
            reader.stored(kept)
        self._fit()
        return kept.sequence

    def _fit(self) -> None:
        at_most = self.config.get("max_bytes", -1)
        while 0 <= at_most < self._bytes:
            self.remove(next(iter(self.messages)))

    def _arm(self, kept: Kept, order: Schedule) -> None:
        self._schedules[kept.subject] = kept.sequence
        self._clock.call_at(order.due_ns, partial(self._fire, kept, order))

    def _fire(self, kept: Kept, order: Schedule) -> None:
        if self.gone or self._schedules.get(kept.subject) != kept.sequence:
            return
        self.remove(kept.sequence)
        headers = {name: value for name, value in kept.headers.items() if name not in _NOT_FIRED}
        headers |= {SCHEDULER: kept.subject, NEXT: "purge"}
        if order.ttl is not None:
            headers[TTL] = order.ttl
        self.store(Outgoing(order.target, headers, kept.body))


def _header_bytes(headers: Mapping[str, str]) -> int:
    """As the client writes them: a first line, a line each, and an empty one."""
    lines = sum(len(name.encode()) + len(value.encode()) + 4 for name, value in headers.items())
    return lines + 12 if headers else 0
