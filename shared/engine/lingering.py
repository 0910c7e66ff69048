"""Journal rows that nobody waits for: they wait for each other, so that they are published as one batch."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence

from shared.engine.tables import NumberedRow


class Lingering:
    """Keeps back what may wait, and whatever follows it under the same key; gives it all to `release` in time.

    `linger_s` says by the aggregate's name how long its rows may wait.
    """

    def __init__(self, linger_s: Mapping[str, float], release: Callable[[Sequence[NumberedRow]], None]) -> None:
        self._linger_s = linger_s
        self._release = release
        self._rows: list[NumberedRow] = []
        self._keys: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._rows)

    def sift(self, rows: Iterable[NumberedRow]) -> Iterable[NumberedRow]:
        """Those that are to be published at once."""
        return [numbered for numbered in rows if not self._keeps(numbered)] if self._linger_s else rows

    def drop(self, partition: int) -> None:
        """Forget a partition's rows."""
        self._rows = [numbered for numbered in self._rows if numbered.row.partition != partition]
        self._keys = {numbered.row.key for numbered in self._rows}

    def _keeps(self, numbered: NumberedRow) -> bool:
        row = numbered.row
        wait_s = self._linger_s.get(row.aggregate.partition("-")[0])
        if wait_s is None and row.key not in self._keys:
            return False
        self._rows.append(numbered)
        self._keys.add(row.key)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s or 0.0, self._end)
        return True

    def _end(self) -> None:
        rows, self._rows = self._rows, []
        self._keys.clear()
        self._timer = None
        self._release(rows)
