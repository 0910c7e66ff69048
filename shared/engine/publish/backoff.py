"""How long to wait before the next attempt: twice as long each time, up to a bound, and never quite the same."""

import random

import anyio

FIRST_S = 0.05
LAST_S = 5.0


class Backoff:
    """The waits of one attempt after the other: 0.05 s at first, up to 5 s, less up to a half by chance."""

    def __init__(self) -> None:
        self._next_s = FIRST_S

    def next_s(self) -> float:
        """How long to wait now."""
        wait_s = self._next_s * random.uniform(0.5, 1.0)  # noqa: S311  Jitter, no secret.
        self._next_s = min(self._next_s * 2, LAST_S)
        return wait_s

    async def wait(self, sooner: anyio.Event) -> None:
        """Wait for the next attempt, or until this event is set."""
        with anyio.move_on_after(self.next_s()):
            await sooner.wait()
