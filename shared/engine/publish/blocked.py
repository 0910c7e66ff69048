"""Blocked keys: one key that cannot be published holds up no other key.

The broker may refuse a row for good, or not answer it while it answers other rows, for example because a permission is
missing. Either blocks the key of the row: its rows wait here, in order, and a task of its own retries the first
one. A refusal also goes on record (table `refused`), and an alarm names the remedy.

The stream must never hold two messages under one id. The task retries such a row every 30 s, but publishes it only when
the other message has left the stream, or under the next edition of its id (`chorus parked void`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import anyio

from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.blocked_key import BlockedKey
from shared.engine.publish.single import Full, PublishResult, Refused, Unanswered, publish_again
from shared.engine.wakeup import Wakeup
from shared.ports.broker import Broker, BrokerDeniedError
from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow, RefusedRow
from shared.wire.messages import rfc3339

REFUSED_RETRY_S: Final = 30.0
ALARM_AFTER_TRIES: Final = 2
"""One lost answer raises no alarm."""
RETRIED_AT_ONCE: Final = 1_000
REFUSED_AT_MOST: Final = 20_000
"""Backpressure: with more refused rows and rows behind them in memory, the loop takes no new messages."""


class BlockedKeys:
    """Keeps and retries the rows of keys that cannot be published.

    `requeue` takes the rows of a key that is free again. `is_verified` says whether the relay may publish on this
    connection. `acknowledged` takes each row that a retry published, with its sequence.
    """

    def __init__(
        self,
        broker: Broker,
        clock: Clock,
        troubles: Troubles,
        *,
        requeue: Callable[[Iterable[NumberedRow]], None],
        is_verified: Callable[[], bool],
        acknowledged: Callable[[NumberedRow, int], None],
    ) -> None:
        self._broker = broker
        self._clock = clock
        self._troubles = troubles
        self._requeue = requeue
        self._is_verified = is_verified
        self._acknowledged = acknowledged
        self.refused_at_most = REFUSED_AT_MOST
        self._keys: dict[str, BlockedKey] = {}
        self._id_conflicts: dict[int, RefusedRow] = {}
        """Refusals from before this process owned the partition, by journal number, until their rows arrive."""
        self._refusals: list[RefusedRow] = []
        self._wakeup = Wakeup()

    def __contains__(self, key: str) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        """The number of rows that wait here; the metrics' thread reads it too."""
        return sum(len(blocked.rows) for blocked in tuple(self._keys.values()))

    @property
    def unanswered(self) -> int:
        """The number of rows whose key waits for an answer, not for an operator."""
        return sum(len(blocked.rows) for blocked in tuple(self._keys.values()) if blocked.refusal is None)

    @property
    def refused(self) -> int:
        """The number of rows whose key waits for an operator."""
        return len(self) - self.unanswered

    @property
    def is_full(self) -> bool:
        """Whether so many rows wait for an operator that the loop should take no new messages."""
        return self.refused >= self.refused_at_most

    @property
    def reasons(self) -> dict[str, str]:
        """By key, why the broker refuses its first row for good; the metrics' thread reads it too."""
        keys = tuple(self._keys.items())
        return {key: blocked.refusal.reason for key, blocked in keys if blocked.refusal is not None}

    @property
    def has_refusals(self) -> bool:
        """Whether `drain_refusals` would return any."""
        return bool(self._refusals)

    def drain_refusals(self) -> list[RefusedRow]:
        """Remove and return the refusals that no commit has recorded yet."""
        refusals, self._refusals = self._refusals, []
        return refusals

    def restore_refusals(self, refusals: Iterable[RefusedRow]) -> None:
        """Put refusals back whose commit failed."""
        self._refusals = [*refusals, *self._refusals]

    def expect(self, refusals: Iterable[RefusedRow]) -> None:
        """Block these rows when they come: another message has their ids. Call before the relay gets the rows."""
        self._id_conflicts |= {refusal.n: refusal for refusal in refusals}

    def keep_back(self, rows: list[NumberedRow]) -> list[NumberedRow]:
        """Keep the rows of blocked keys and return all other rows."""
        if not self._keys and not self._id_conflicts:
            return rows
        passed = []
        for numbered in rows:
            key = numbered.row.key
            refusal = self._id_conflicts.pop(numbered.n, None)
            if refusal is not None and key not in self._keys:
                self._keys[key] = BlockedKey(numbered.row.partition, refusal)
            if key in self._keys:
                self._keys[key].rows.append(numbered)
            else:
                passed.append(numbered)
        self._wakeup.set()
        return passed

    def block(self, numbered: NumberedRow, answer: PublishResult) -> None:
        """Block the key of a row because of this answer. The caller then calls `append_blocked` with its rows."""
        key = numbered.row.key
        blocked = self._keys.setdefault(key, BlockedKey(numbered.row.partition))
        blocked.tries += 1
        if isinstance(answer, Refused):
            self._refuse(blocked, numbered, answer)
        else:
            if blocked.refusal is not None and not blocked.refusal.seq:
                blocked.refusal = None
            blocked.retry_at = self._clock.monotonic() + blocked.backoff.next_s()
            if isinstance(answer, Full):
                self._troubles.unpublished(numbered.row.stream, answer.error)
            elif blocked.tries >= ALARM_AFTER_TRIES and not _is_denied(answer):  # A denial has an alarm of its own.
                self._troubles.unanswered(numbered)
        self._wakeup.set()

    def append_blocked(self, rows: Iterable[NumberedRow]) -> None:
        """Keep rows of blocked keys until their keys are free."""
        for numbered in rows:
            self._keys[numbered.row.key].rows.append(numbered)
        self._wakeup.set()

    def revoke(self, partition: int) -> None:
        """Forget a partition. Its new owner finds the rows in the journal and raises the alarms."""
        for key, blocked in list(self._keys.items()):
            if blocked.partition == partition:
                self._troubles.key_is_free(key)
                del self._keys[key]
        self._id_conflicts = {n: refusal for n, refusal in self._id_conflicts.items() if refusal.partition != partition}

    def retry(self, numbers: Iterable[int]) -> None:
        """Retry these journal rows now."""
        wanted = set(numbers)
        for blocked in self._keys.values():
            if blocked.rows and blocked.rows[0].n in wanted:
                blocked.retry_at = self._clock.monotonic()
        self._wakeup.set()

    def reserve(self, numbers: Sequence[int]) -> list[int]:
        """Stop retrying these refused rows until `replace`; returns those that are not in flight at this moment."""
        reserved = []
        for blocked in self._keys.values():
            if blocked.refusal is not None and blocked.rows and blocked.rows[0].n in numbers and not blocked.in_flight:
                blocked.in_flight = True
                reserved.append(blocked.rows[0].n)
        return reserved

    def replace(self, numbers: Sequence[int], rows: Sequence[NumberedRow]) -> None:
        """End `reserve`. Each of `rows` takes the place of the row with its number."""
        new = {numbered.n: numbered for numbered in rows}
        self._refusals = [refusal for refusal in self._refusals if refusal.n not in new]
        for blocked in self._keys.values():
            if blocked.rows and (n := blocked.rows[0].n) in numbers:
                blocked.in_flight = False
                if n in new:
                    blocked.rows[0] = new[n]
                    blocked.refusal = None
                    blocked.retry_at = self._clock.monotonic()
        self._wakeup.set()

    def wake(self) -> None:
        """Retry what is due: the relay may publish again."""
        self._wakeup.set()

    async def run(self) -> None:
        """Retry blocked rows until cancelled."""
        async with anyio.create_task_group() as tasks:
            while True:
                self._wakeup.clear()
                for keys in self._ready():
                    if keys:
                        tasks.start_soon(self._retry, keys)
                await self._wakeup.wait(self._next_s())

    def _ready(self) -> tuple[list[BlockedKey], list[BlockedKey]]:
        """Keys to retry now, refused and unanswered separately: an unanswered retry may last until the time-out."""
        if not self._is_verified():
            return [], []
        now = self._clock.monotonic()
        ready = [b for b in self._keys.values() if b.rows and not b.in_flight and b.retry_at <= now][:RETRIED_AT_ONCE]
        return [b for b in ready if b.refusal is not None], [b for b in ready if b.refusal is None]

    def _next_s(self) -> float | None:
        waiting = [blocked.retry_at for blocked in self._keys.values() if blocked.rows and not blocked.in_flight]
        if not waiting or not self._is_verified():
            return None
        return max(0.0, min(waiting) - self._clock.monotonic())

    async def _retry(self, keys: Sequence[BlockedKey]) -> None:
        connection = self._broker.reconnects
        rows = [blocked.rows[0] for blocked in keys]
        for blocked in keys:
            blocked.in_flight = True
        answers = await publish_again(self._broker, [(blocked.rows[0], blocked.refusal) for blocked in keys])
        for blocked, numbered, answer in zip(keys, rows, answers, strict=True):
            blocked.in_flight = False
            key = numbered.row.key
            if self._keys.get(key) is not blocked or self._broker.reconnects != connection:
                continue  # The partition was revoked meanwhile, or its streams must be compared first.
            if isinstance(answer, int):
                self._troubles.key_is_free(key)
                del self._keys[key]
                blocked.rows.popleft()
                self._acknowledged(numbered, answer)
                self._requeue(blocked.rows)
            else:
                self.block(numbered, answer)
        self._wakeup.set()

    def _refuse(self, blocked: BlockedKey, numbered: NumberedRow, answer: Refused) -> None:
        n, row = numbered
        before = blocked.refusal
        since = before.since if before is not None and before.n == n else rfc3339(self._clock.now())
        blocked.refusal = RefusedRow(n, row.key, row.partition, answer.reason, answer.seq, since)
        blocked.retry_at = self._clock.monotonic() + REFUSED_RETRY_S
        self._refusals.append(blocked.refusal)
        self._troubles.refused(numbered, answer.reason, is_id_conflict=bool(answer.seq))


def _is_denied(answer: PublishResult) -> bool:
    return isinstance(answer, Unanswered) and isinstance(answer.error, BrokerDeniedError)
