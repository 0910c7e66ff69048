"""Measures how long the worker's loop has stalled, not counting work that may take long."""

from collections.abc import Iterator
from contextlib import contextmanager

from shared.ports.clock import Clock
from shared.ports.store import Store


class Stall:
    """A supervisor kills the worker when `seconds` becomes too large.

    `seconds` is zero during the start, which may fold a whole journal, during a takeover, which may compare whole
    streams, and while the database waits for a transaction of another process. A new process would be no faster.
    """

    def __init__(self, clock: Clock, store: Store) -> None:
        self._clock = clock
        self._store = store
        self._round_began = clock.monotonic()
        self._paused = False

    @property
    def seconds(self) -> float:
        """Seconds since the loop last began a round."""
        paused = self._paused or self._store.waits_for_lock
        return 0.0 if paused else self._clock.monotonic() - self._round_began

    def end(self) -> None:
        """Count from now: the loop begins a round."""
        self._round_began = self._clock.monotonic()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not measure while the block runs: it may take long."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
            self.end()
