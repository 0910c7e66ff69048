"""Measures how long a repeated step takes, in buckets: one addition per measurement, and any quantile afterwards."""

from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager

from shared.ports.clock import Clock
from shared.wire.lag import BUCKETS_S, Timing


class Timings:
    """The measurements of one step. The metrics' thread reads them too."""

    __slots__ = ("_counts", "_sum_s")

    def __init__(self) -> None:
        self._counts = [0] * (len(BUCKETS_S) + 1)
        self._sum_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one measurement."""
        self._counts[bisect_left(BUCKETS_S, seconds)] += 1
        self._sum_s += seconds

    @contextmanager
    def measured(self, clock: Clock) -> Iterator[None]:
        """Measure the block, unless it raises."""
        began = clock.monotonic()
        yield
        self.add(clock.monotonic() - began)

    @property
    def so_far(self) -> Timing:
        """All measurements of this process."""
        return Timing(counts=tuple(self._counts), sum_s=self._sum_s)
