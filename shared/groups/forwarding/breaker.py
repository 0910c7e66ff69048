"""A circuit breaker: while the endpoint fails, one event at a time probes whether it is well again."""

from typing import Final

import anyio

from shared.engine.retry import Backoff, Delays
from shared.ports.clock import Clock

OPENS_AFTER: Final = 5
"""The circuit opens after this many failures in a row, whatever the events."""
PROBE_DELAYS: Final = Delays(first_s=1.0, last_s=60.0, extended_by_s=0.5)


class Breaker:
    """The circuit to one endpoint."""

    def __init__(self, clock: Clock) -> None:
        self.is_open = False
        self._clock = clock
        self._failures = 0
        self._backoff = Backoff(PROBE_DELAYS)
        self._probe_at = 0.0
        self._is_probing = False
        self._changed = anyio.Event()

    async def admit(self) -> bool:
        """Wait until an event may be sent; returns whether it is the probe of an open circuit."""
        while self.is_open:
            if self._is_probing:
                await self._changed.wait()
                continue
            wait_s = self._probe_at - self._clock.monotonic()
            if wait_s <= 0:
                self._is_probing = True
                return True
            await self._clock.sleep(wait_s)
        return False

    def succeeded(self) -> None:
        """The endpoint has answered, and not as one that is away or misconfigured."""
        self._failures = 0
        self._backoff.reset()
        self.is_open = self._is_probing = False
        self._tell()

    def failed(self, *, is_probe: bool) -> None:
        """The endpoint has not answered, or as one that is away or misconfigured."""
        self._failures += 1
        if is_probe or (not self.is_open and self._failures >= OPENS_AFTER):
            self.is_open = True
            self._is_probing = False
            self._probe_at = self._clock.monotonic() + self._backoff.next_s()
            self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()
