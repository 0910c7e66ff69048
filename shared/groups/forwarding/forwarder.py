"""Sends the events that wait in the database of a group, a bounded number at a time, and per key in their order.

An event is deleted once it was delivered. So a process that dies sends some again, with the same id: the endpoint gets
each event at least once. An event that cannot be delivered is parked, and keeps the later ones of its key, until an
operator has it tried again or skipped. Only some events are in memory; the others wait in the database, and while any
wait there, the group reads no more of EVENTS.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from shared.engine.monitor.alarms import Alarms
from shared.engine.retry import Backoff, Delays
from shared.groups.forwarding.breaker import Breaker
from shared.groups.forwarding.cloud_event import headers_of
from shared.groups.transact import Transact
from shared.ports.clock import Clock
from shared.ports.forwards import ForwardRow, NoReplyError, Reply, Sender
from shared.ports.views import ViewTransaction
from shared.readside.group import Forwards
from shared.wire.messages import CORRELATION_ID, rfc3339

AT_ONCE: Final = 16
"""Keys that are sent at once."""
IN_MEMORY_AT_MOST: Final = 2_000
SETTLED_AT: Final = 200
"""Outcomes that share a transaction; after a crash these, and those under way, are sent again at most."""
ATTEMPTS_AT_MOST: Final = 10
DELAYS: Final = Delays(first_s=0.5, last_s=60.0, extended_by_s=0.5)
RETRY_AFTER_AT_MOST_S: Final = 300.0
LOOKS_EVERY_S: Final = 1.0
"""How often the verdicts of operators are looked for while something is parked."""
AGAIN: Final = frozenset({408, 425, 429})
"""The statuses below 500 after which the same request may succeed."""
AWAY: Final = frozenset({429, 502, 503, 504})
"""The statuses of an endpoint that is away: they say nothing about the event."""
MISCONFIGURED: Final = frozenset({*range(300, 400), 401, 403, 404, 405, 407, 410, 415})
"""The statuses of a wrong URL, login or media type: most often every event is answered so, and none is to blame.

If other events are delivered meanwhile, the event is parked when its attempts are used up.
"""

T = TypeVar("T")

_log = structlog.get_logger("chorus.forwarding")


class _Outcome(NamedTuple):
    """An event that was delivered, or the reason why it cannot be."""

    row: ForwardRow
    reason: str


class Forwarder:
    """The events of one group on their way to the endpoint, if it forwards any. The group's loop calls `settle`."""

    def __init__(
        self,
        place: str,
        forwards: Forwards | None,
        sender: Sender | None,
        clock: Clock,
        alarms: Alarms,
        wake: Callable[[], None],
    ) -> None:
        assert (forwards is None) == (sender is None), f"{place}: an endpoint belongs to a group that forwards"
        self.delivered = self.failed = 0
        """Events delivered, and attempts that have failed, since the process started."""
        self.parked = 0
        """Events that wait for an operator."""
        self.breaker = Breaker(clock)
        self._place = place
        self._forwards = forwards
        self._sender = sender
        self._clock = clock
        self._alarms = alarms
        self._wake = wake
        self._slots = anyio.Semaphore(AT_ONCE)
        self._queues: dict[str, deque[ForwardRow]] = {}
        self._in_memory: set[int] = set()
        """The numbers of all events that were loaded and whose outcome is not in the database."""
        self._outcomes: list[_Outcome] = []
        self._after = 0
        self._has_more = forwards is not None
        """Whether the database may have events that were not loaded."""
        self._looks_at = 0.0
        self._tasks: TaskGroup | None = None

    def start(self, tasks: TaskGroup) -> None:
        """Send in this task group."""
        self._tasks = tasks

    async def close(self) -> None:
        """Close the connections."""
        if self._sender is not None:
            await self._sender.close()

    @property
    def is_needed(self) -> bool:
        """Whether the group forwards anything."""
        return self._forwards is not None

    @property
    def waiting(self) -> int:
        """The number of events in memory that were not delivered."""
        return len(self._in_memory)

    @property
    def has_room(self) -> bool:
        """Whether the group may read on: everything that waits is in memory."""
        return not self._has_more

    @property
    def is_resting(self) -> bool:
        """Whether everything is delivered, but for parked keys."""
        return not self._has_more and not self._in_memory

    @property
    def _has_news(self) -> bool:
        """Whether `settle` has anything to do."""
        may_load = self._has_more and len(self._in_memory) <= IN_MEMORY_AT_MOST // 2
        may_release = self.parked > 0 and self._clock.monotonic() >= self._looks_at
        return bool(self._outcomes) or may_load or may_release

    def expect_more(self) -> None:
        """The database has got more events."""
        self._has_more = self._forwards is not None

    async def settle(self, transact: Transact, *, loads: bool = True) -> None:
        """Record what was delivered or parked, carry out the verdicts of operators, and load the next events."""
        if not self._has_news:
            return
        outcomes, self._outcomes = self._outcomes, []
        limit = IN_MEMORY_AT_MOST - len(self._in_memory) + len(outcomes) if loads else 0
        since = rfc3339(self._clock.now())

        def work(transaction: ViewTransaction) -> tuple[int, list[ForwardRow], int]:
            rows = transaction.forwards
            rows.delete([one.row.n for one in outcomes if not one.reason])
            rows.park([(one.row.n, one.reason) for one in outcomes if one.reason], since=since)
            after = min((self._after, *(first - 1 for first in rows.release())))
            return after, rows.waiting(after, limit) if limit > 0 else [], rows.parked()

        after, loaded, self.parked = await transact(work)
        self._looks_at = self._clock.monotonic() + LOOKS_EVERY_S
        self._in_memory.difference_update(one.row.n for one in outcomes)
        self._after = loaded[-1].n if loaded else after
        self._has_more = len(loaded) == limit or limit <= 0
        self._add(loaded)
        self._check_parked()

    def _add(self, rows: Sequence[ForwardRow]) -> None:
        assert self._tasks is not None
        parked = {one.row.key for one in self._outcomes if one.reason}  # While the transaction ran.
        for row in rows:
            if row.n in self._in_memory or row.key in parked:
                continue
            self._in_memory.add(row.n)
            if (queue := self._queues.get(row.key)) is not None:
                queue.append(row)
                continue
            self._queues[row.key] = deque((row,))
            self._tasks.start_soon(self._run_key, row.key)

    async def _run_key(self, key: str) -> None:
        queue = self._queues[key]
        while queue:
            row = queue[0]
            reason = await self._deliver(row)
            queue.popleft()
            self._outcomes.append(_Outcome(row, reason))
            if reason:
                _log.error(
                    "event parked", saga=row.headers.get(CORRELATION_ID, key), message=row.event_id, reason=reason
                )
                self._in_memory.difference_update(later.n for later in queue)
                queue.clear()
            if reason or len(self._outcomes) >= SETTLED_AT or len(self._outcomes) == len(self._in_memory):
                self._wake()
        del self._queues[key]

    async def _deliver(self, row: ForwardRow) -> str:
        """Send until it is delivered; returns why it cannot be, or nothing."""
        backoff, attempts = Backoff(DELAYS), 0
        while True:
            async with self._slots:
                is_probe = await self.breaker.admit()
                problem, reply = await self._send(row)
            status = 0 if reply is None else reply.status
            if problem is None and status < 500 and status not in AGAIN | MISCONFIGURED:
                self._is_well()
                if 200 <= status < 300:
                    self.delivered += 1
                    return ""
                self.failed += 1
                return f"the endpoint answers {status}"
            self.failed += 1
            described = f"the endpoint answers {status}" if problem is None else str(problem)
            self.breaker.failed(is_probe=is_probe)
            self._check_circuit(described, is_misconfigured=status in MISCONFIGURED)
            attempts += not (is_probe and (reply is None or status in AWAY | MISCONFIGURED))
            if attempts >= ATTEMPTS_AT_MOST:
                return f"{attempts} attempts: {described}"
            _log.debug("not delivered", saga=row.headers.get(CORRELATION_ID, row.key), message=row.event_id,
                       attempt=attempts, reason=described)  # fmt: skip
            wanted_s = (reply and reply.retry_after_s) or 0.0
            await self._clock.sleep(max(backoff.next_s(), min(wanted_s, RETRY_AFTER_AT_MOST_S)))

    async def _send(self, row: ForwardRow) -> tuple[NoReplyError | None, Reply | None]:
        assert self._forwards is not None
        assert self._sender is not None
        headers = headers_of(row, self._forwards.secret, self._clock.now())
        try:
            return None, await self._sender.send(headers, row.body)
        except NoReplyError as error:
            return error, None

    def _is_well(self) -> None:
        self.breaker.succeeded()
        self._alarms.clear("endpoint", self._place)

    def _check_parked(self) -> None:
        if not self.parked:
            self._alarms.clear("endpoint", f"{self._place}: parked")
            return
        reason = f"{self.parked} events cannot be delivered, and keep the later ones of their keys"
        remedy = "chorus parked ls, then chorus parked retry or skip"
        self._alarms.raise_("endpoint", f"{self._place}: parked", reason=reason, remedy=remedy)

    def _check_circuit(self, reason: str, *, is_misconfigured: bool) -> None:
        if self.breaker.is_open:
            check = (
                "check the URL and the secret of the endpoint"
                if is_misconfigured
                else "see whether the endpoint is well"
            )
            remedy = f"{check}; the events wait, and are sent once it takes them"
            self._alarms.raise_("endpoint", self._place, reason=reason, remedy=remedy)
