"""What is still to be published: the journal rows of our partitions, per key in journal order.

Rows that nobody waits for linger: they wait for each other, and so does whatever follows them under the same key, so
that they go as one batch. Rows that the broker refuses for good are set aside, and offered again now and then.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping

from shared.engine.tables import NumberedRow
from shared.messages import aggregate_name


class Outbox:
    """`linger_s` says by the aggregate's name how long its rows may wait; `ring` is called when some are to go."""

    def __init__(self, linger_s: Mapping[str, float], ring: Callable[[], None]) -> None:
        self._linger_s = linger_s
        self._ring = ring
        self._ours: set[int] = set()
        self._due: deque[NumberedRow] = deque()
        self._lingering: list[NumberedRow] = []
        self._lingering_keys: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._set_aside: list[NumberedRow] = []

    def __len__(self) -> int:
        return len(self._due) + len(self._lingering) + len(self._set_aside)

    @property
    def due(self) -> int:
        """How many are to go now."""
        return len(self._due)

    @property
    def lingering(self) -> int:
        """How many go in a moment."""
        return len(self._lingering)

    @property
    def set_aside(self) -> int:
        """How many go when they are offered again."""
        return len(self._set_aside)

    def take(self, partition: int) -> None:
        """The rows of this partition are ours from now on."""
        self._ours.add(partition)

    def drop(self, partition: int) -> None:
        """Leave a partition's rows to whoever holds it now, and finds them in the journal."""
        self._ours.discard(partition)
        self._due = deque(numbered for numbered in self._due if numbered.row.partition != partition)
        self._lingering = [numbered for numbered in self._lingering if numbered.row.partition != partition]
        self._lingering_keys = {numbered.row.key for numbered in self._lingering}
        self._set_aside = [numbered for numbered in self._set_aside if numbered.row.partition != partition]

    def add(self, rows: Iterable[NumberedRow]) -> None:
        """Those of our partitions go after all that was added before under their keys."""
        for numbered in rows:
            if numbered.row.partition in self._ours and not self._lingers(numbered):
                self._due.append(numbered)
        if self._due:
            self._ring()

    def next(self, at_most: int) -> list[NumberedRow]:
        """The rows to go now; they are the caller's."""
        return [self._due.popleft() for _ in range(min(len(self._due), at_most))]

    def refused(self, rows: Iterable[NumberedRow]) -> None:
        """Set rows aside that were `next`."""
        self._set_aside.extend(rows)

    def offer_again(self) -> None:
        """What was set aside goes before all others; only while nobody has later rows of its keys in hand."""
        self._due.extendleft(reversed(self._set_aside))
        self._set_aside.clear()

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
