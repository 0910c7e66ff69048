"""Exponential back-off with jitter, for retries that an event may cut short."""

import random

import anyio

FIRST_S = 0.05
LAST_S = 5.0


class Backoff:
    """The waits between attempts: from 0.05 s up to 5 s, doubled each time, less up to a half at random."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def next_s(self) -> float:
        """The next wait, in seconds."""
        wait_s = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  Jitter, no secret.
        self._next_s = min(self._next_s * 2, LAST_S)
        return wait_s

    async def wait(self, sooner: anyio.Event) -> None:
        """Wait before the next attempt, or until the event is set."""
        with anyio.move_on_after(self.next_s()):
            await sooner.wait()
