"""Publishes the first row of each blocked key again, beside the relay's rounds, so that one key holds up no other.

A row that the broker refuses for good blocks its key: the refusal goes on record (table `refused`), an alarm names the
remedy, and the row is tried again every 30 s or when an operator says so. A row whose id another message has is never
published beside that message: trying again means to look whether it is gone from the stream. A row that gets no answer
while the broker answers others, for example because a permission is missing, blocks its key too; it is tried again
after a back-off.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import anyio

from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.answers import Answer, Full, Refused, Unanswered, publish_again, stream_of
from shared.engine.publish.queue import BlockedKey, PublishQueue
from shared.engine.wakeup import Wakeup
from shared.ports.broker import Broker, BrokerDeniedError
from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow, RefusedRow
from shared.wire.messages import rfc3339

REFUSED_RETRY_S: Final = 30.0
ALARM_AFTER_TRIES: Final = 2
"""A single lost answer is no alarm."""
IN_FLIGHT_AT_MOST: Final = 1_000


class BlockedKeys:
    """The blocked keys of one relay. `refusals` are for the loop to record with its next commit."""

    def __init__(
        self,
        outbox: PublishQueue,
        broker: Broker,
        clock: Clock,
        troubles: Troubles,
        *,
        is_sound: Callable[[], bool],
        mark: Callable[[NumberedRow, int], None],
    ) -> None:
        self.refusals: list[RefusedRow] = []
        self._queue = outbox
        self._broker = broker
        self._clock = clock
        self._alarms = troubles.alarms
        self._troubles = troubles
        self._is_sound = is_sound
        self._mark = mark
        self._work = Wakeup()

    @property
    def refused(self) -> dict[str, str]:
        """Why the broker refuses the next row of each of these keys for good; the metrics' thread reads it too."""
        blocked = tuple(self._queue.blocked.items())
        return {key: held.refusal.reason for key, held in blocked if held.refusal is not None}

    async def run(self) -> None:
        """Try blocked rows again for ever."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._work.clear()
                for held in self._due():
                    if held:
                        tasks.start_soon(self._try, held)
                await self._work.wait(self._next_s())

    def know_taken(self, refusals: Iterable[RefusedRow]) -> None:
        """Never publish these rows beside the messages that have their ids. Call before the rows are added."""
        self._queue.know_taken(refusals)

    def look(self) -> None:
        """There may be something to try again now."""
        self._work.set()

    def block(self, numbered: NumberedRow, answer: Answer) -> None:
        """Block the row's key because of this answer; `PublishQueue.keep` takes the row."""
        held = self._queue.block(numbered)
        held.tries += 1
        if isinstance(answer, Refused):
            self._refuse(held, numbered, answer)
        else:
            if held.refusal is not None and not held.refusal.seq:
                held.refusal = None
            held.retry_at = self._clock.monotonic() + held.backoff.next_s()
            if isinstance(answer, Full):
                self._troubles.unpublished(stream_of(numbered), answer.error)
            elif held.tries >= ALARM_AFTER_TRIES and not _is_denied(answer):  # A denial has an alarm of its own.
                self._raise_unanswered(numbered)
        self._work.set()

    def drop(self, partition: int) -> None:
        """Another process reports the trouble of this partition's keys from now on. Call before `PublishQueue.drop`."""
        for key, held in self._queue.blocked.items():
            if held.partition == partition:
                self._alarms.clear("publication", key)

    def retry(self, numbers: Iterable[int]) -> None:
        """Try these journal rows again at once."""
        wanted = set(numbers)
        for held in self._queue.blocked.values():
            if held.rows and held.rows[0].n in wanted:
                held.retry_at = self._clock.monotonic()
        self._work.set()

    def hold(self, numbers: Sequence[int]) -> list[int]:
        """Keep these refused rows from being tried until `replace`; those that are in flight now are left out."""
        held_now = []
        for held in self._queue.blocked.values():
            if held.refusal is not None and held.rows and held.rows[0].n in numbers and not held.in_flight:
                held.in_flight = True
                held_now.append(held.rows[0].n)
        return held_now

    def replace(self, numbers: Sequence[int], rows: Sequence[NumberedRow]) -> None:
        """End `hold`; publish these rows in the place of those that have their numbers."""
        new = {numbered.n: numbered for numbered in rows}
        self.refusals = [refusal for refusal in self.refusals if refusal.n not in new]
        for held in self._queue.blocked.values():
            if held.rows and (n := held.rows[0].n) in numbers:
                held.in_flight = False
                if n in new:
                    held.rows[0] = new[n]
                    held.refusal = None
                    held.retry_at = self._clock.monotonic()
        self._work.set()

    def _due(self) -> tuple[list[BlockedKey], list[BlockedKey]]:
        """The keys to try now: the refused ones apart, because those without an answer take up to the time-out."""
        if not self._is_sound():
            return [], []
        now = self._clock.monotonic()
        due = [h for h in self._queue.blocked.values() if h.rows and not h.in_flight and h.retry_at <= now]
        due = due[:IN_FLIGHT_AT_MOST]
        return [h for h in due if h.refusal is not None], [h for h in due if h.refusal is None]

    def _next_s(self) -> float | None:
        waiting = [held.retry_at for held in self._queue.blocked.values() if held.rows and not held.in_flight]
        if not waiting or not self._is_sound():
            return None
        return max(0.0, min(waiting) - self._clock.monotonic())

    async def _try(self, keys: Sequence[BlockedKey]) -> None:
        connection = self._broker.reconnects
        rows = [(held.rows[0], held.refusal) for held in keys]
        for held in keys:
            held.in_flight = True
        answers = await publish_again(self._broker, rows)
        for held, (numbered, _), answer in zip(keys, rows, answers, strict=True):
            held.in_flight = False
            key = numbered.row.key
            if self._queue.blocked.get(key) is not held or self._broker.reconnects != connection:
                continue  # The partition was released meanwhile, or its streams have to be compared first.
            if isinstance(answer, int):
                self._mark(numbered, answer)
                self._alarms.clear("publication", key)
                held.rows.popleft()
                self._queue.unblock(key)
            else:
                self.block(numbered, answer)
        self._work.set()

    def _refuse(self, held: BlockedKey, numbered: NumberedRow, answer: Refused) -> None:
        n, row = numbered
        since = held.refusal.since if held.refusal and held.refusal.n == n else rfc3339(self._clock.now())
        held.refusal = RefusedRow(n, row.key, row.partition, answer.reason, answer.seq, since)
        held.retry_at = self._clock.monotonic() + REFUSED_RETRY_S
        self.refusals.append(held.refusal)
        number = f"{row.subject.split('.')[1]}/r{n}"
        self._alarms.raise_(
            "publication",
            row.key,
            reason=f"{row.event_id}: {answer.reason}",
            remedy=f"chorus parked show {number}, then chorus parked {'void' if answer.seq else 'retry'} {number}",
        )

    def _raise_unanswered(self, numbered: NumberedRow) -> None:
        row = numbered.row
        self._alarms.raise_(
            "publication",
            row.key,
            reason=f"{row.event_id}: the broker answers, but not the publish to {row.subject}",
            remedy=f"let this worker's user publish to {row.subject}; the worker tries again by itself",
        )


def _is_denied(answer: Answer) -> bool:
    return isinstance(answer, Unanswered) and isinstance(answer.error, BrokerDeniedError)
