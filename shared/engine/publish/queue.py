"""The outbox in memory: the unpublished journal rows of our partitions, per key in journal order.

Rows of aggregates that linger wait for each other, and so do later rows of the same key, so that they go as one batch.
A key is blocked while the broker refuses or does not answer its next row: the outbox keeps all rows of the key until
that row is published.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from shared.engine.publish.backoff import Backoff
from shared.ports.rows import NumberedRow, RefusedRow
from shared.wire.messages import aggregate_name


class BlockedKey:
    """The rows of one blocked key, the blocking row first, and when the relay tries that row again."""

    __slots__ = ("backoff", "in_flight", "partition", "refusal", "retry_at", "rows", "tries")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.rows: deque[NumberedRow] = deque()
        self.refusal: RefusedRow | None = None
        """Why the broker refuses the first row; None when it has not answered."""
        self.retry_at = 0.0
        self.backoff = Backoff()
        self.tries = 0
        self.in_flight = False


class PublishQueue:
    """`linger_s` says by the aggregate's name how long its rows may wait; `ring` is called when some are to go."""

    def __init__(self, linger_s: Mapping[str, float], ring: Callable[[], None]) -> None:
        self.blocked: dict[str, BlockedKey] = {}
        self._taken: dict[int, RefusedRow] = {}
        """By journal number, rows whose id another message in the stream had when they were last tried."""
        self._linger_s = linger_s
        self._ring = ring
        self._ours: set[int] = set()
        self._due: deque[NumberedRow] = deque()
        self._lingering: list[NumberedRow] = []
        self._lingering_keys: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._due) + len(self._lingering) + sum(len(held.rows) for held in tuple(self.blocked.values()))

    @property
    def first(self) -> NumberedRow | None:
        """The row that goes next; None when none goes, whatever is set aside."""
        return self._due[0] if self._due else self._lingering[0] if self._lingering else None

    @property
    def due(self) -> int:
        """How many rows are to go now."""
        return len(self._due)

    @property
    def lingering(self) -> int:
        """How many rows go in a moment."""
        return len(self._lingering)

    @property
    def unanswered(self) -> int:
        """How many rows wait because the broker has not answered the first row of their key."""
        return sum(len(held.rows) for held in tuple(self.blocked.values()) if held.refusal is None)

    def take(self, partition: int) -> None:
        """Accept the rows of this partition from now on."""
        self._ours.add(partition)

    def know_taken(self, refusals: Iterable[RefusedRow]) -> None:
        """Let `next` block these rows' keys instead of handing the rows out. Call before `add`."""
        self._taken |= {refusal.n: refusal for refusal in refusals}

    def drop(self, partition: int) -> None:
        """Forget a partition's rows; its new owner finds them in the journal."""
        self._ours.discard(partition)
        self._due = deque(numbered for numbered in self._due if numbered.row.partition != partition)
        self._lingering = [numbered for numbered in self._lingering if numbered.row.partition != partition]
        self._lingering_keys = {numbered.row.key for numbered in self._lingering}
        self.blocked = {key: held for key, held in self.blocked.items() if held.partition != partition}
        self._taken = {n: refusal for n, refusal in self._taken.items() if refusal.partition != partition}

    def add(self, rows: Iterable[NumberedRow]) -> None:
        """Append rows of our partitions behind all earlier rows of their keys."""
        for numbered in rows:
            if numbered.row.partition in self._ours and not self._lingers(numbered):
                self._due.append(numbered)
        if self._due:
            self._ring()

    def next(self, at_most: int) -> list[NumberedRow]:
        """Hand out the rows to publish now. Rows of blocked keys stay here."""
        if not self.blocked and not self._taken:
            return [self._due.popleft() for _ in range(min(len(self._due), at_most))]
        rows: list[NumberedRow] = []
        while self._due and len(rows) < at_most:
            numbered = self._due.popleft()
            held = self.blocked.get(numbered.row.key)
            if held is None and (refusal := self._taken.pop(numbered.n, None)) is not None:
                held = self.block(numbered)
                held.refusal = refusal
            (rows if held is None else held.rows).append(numbered)
        return rows

    def block(self, numbered: NumberedRow) -> BlockedKey:
        """Block the row's key; the caller gives the row itself, and what it has behind it, to `keep`."""
        return self.blocked.setdefault(numbered.row.key, BlockedKey(numbered.row.partition))

    def keep(self, rows: Iterable[NumberedRow]) -> None:
        """Take back rows of a blocked key."""
        for numbered in rows:
            self.blocked[numbered.row.key].rows.append(numbered)

    def unblock(self, key: str) -> None:
        """Requeue the rows of a blocked key first. Requires: no row of the key is in flight."""
        self._due.extendleft(reversed(self.blocked.pop(key).rows))
        if self._due:
            self._ring()

    def _lingers(self, numbered: NumberedRow) -> bool:
        if not self._linger_s:
            return False
        wait_s = self._linger_s.get(aggregate_name(numbered.row.aggregate))
        if wait_s is None and numbered.row.key not in self._lingering_keys:
            return False
        self._lingering.append(numbered)
        self._lingering_keys.add(numbered.row.key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s or 0.0, self._hurry)
        return True

    def _hurry(self) -> None:
        self._due.extend(self._lingering)
        self._lingering.clear()
        self._lingering_keys.clear()
        self._timer = None
        if self._due:
            self._ring()
