"""The publish queue keeps the order per key on the way out: unpublished journal rows of our partitions, in memory.

The outbox itself is the journal. The queue only spares the relay from reading it back. Rows of aggregates with a
`linger_s` wait for each other, and so do later rows of the same keys, so that they are published as one batch.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow
from shared.wire.messages import aggregate_name


class PublishQueue:
    """`linger_s` is how long the rows of an aggregate may wait, by its name.

    The queue calls `wake` when rows are due, and when the first of them begins to linger.
    """

    def __init__(self, linger_s: Mapping[str, float], clock: Clock, wake: Callable[[], None]) -> None:
        self._linger_s = linger_s
        self._clock = clock
        self._wake = wake
        self._assigned: set[int] = set()
        self._due: deque[NumberedRow] = deque()
        self._lingering: list[NumberedRow] = []
        self._lingering_keys: set[str] = set()
        self._lingers_until: float | None = None

    def __len__(self) -> int:
        return len(self._due) + len(self._lingering)

    @property
    def due(self) -> int:
        """The number of rows to publish now."""
        return len(self._due)

    @property
    def linger_left_s(self) -> float | None:
        """How long until `end_linger` makes rows due; None when no row lingers."""
        return None if self._lingers_until is None else max(0.0, self._lingers_until - self._clock.monotonic())

    @property
    def first(self) -> NumberedRow | None:
        """The row that is next in line, or None."""
        return self._due[0] if self._due else self._lingering[0] if self._lingering else None

    def assign(self, partition: int) -> None:
        """Accept the rows of this partition from now on."""
        self._assigned.add(partition)

    def revoke(self, partition: int) -> None:
        """Forget a partition and its rows; the new owner finds them in the journal."""
        self._assigned.discard(partition)
        self._due = deque(numbered for numbered in self._due if numbered.row.partition != partition)
        self._lingering = [numbered for numbered in self._lingering if numbered.row.partition != partition]
        self._lingering_keys = {numbered.row.key for numbered in self._lingering}

    def add(self, rows: Iterable[NumberedRow]) -> None:
        """Append the rows of our partitions. Requires: no row comes before one of the same key that is here already."""
        for numbered in rows:
            if numbered.row.partition in self._assigned and not self._lingers(numbered):
                self._due.append(numbered)
        self._wake_if_due()

    def put_first(self, rows: Iterable[NumberedRow]) -> None:
        """Put rows back before all others. Requires: no later row of their keys is in flight."""
        self._due.extendleft(reversed(list(rows)))
        self._wake_if_due()

    def end_linger(self) -> None:
        """Make the rows due that have lingered long enough."""
        if self._lingers_until is not None and self._clock.monotonic() >= self._lingers_until:
            self._due.extend(self._lingering)
            self._lingering.clear()
            self._lingering_keys.clear()
            self._lingers_until = None

    def take(self, at_most: int) -> list[NumberedRow]:
        """Remove and return the next rows to publish."""
        return [self._due.popleft() for _ in range(min(len(self._due), at_most))]

    def _lingers(self, numbered: NumberedRow) -> bool:
        if not self._linger_s:
            return False
        wait_s = self._linger_s.get(aggregate_name(numbered.row.aggregate))
        if wait_s is None and numbered.row.key not in self._lingering_keys:
            return False
        self._lingering.append(numbered)
        self._lingering_keys.add(numbered.row.key)
        if self._lingers_until is None:
            self._lingers_until = self._clock.monotonic() + (wait_s or 0.0)
            self._wake()
        return True

    def _wake_if_due(self) -> None:
        if self._due:
            self._wake()
