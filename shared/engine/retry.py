"""The delays between retries: exponential back-off with jitter, on a clock that simulations replace by a virtual one.

This is the only mechanism for delays that grow. Its users:

- `publish/relay.py` for rows that the broker does not acknowledge, and `publish/blocked.py` for one key of them;
- `effect_call.py` for calls whose outcome is unknown;
- `shared/groups/publish/buckets.py` for buckets that cannot be written;
- `shared/groups/forwarding` for events that an endpoint does not take, and for one that is away;
- `shared/run/supervisor.py` and `shared/run/supervised_server.py` for programs that end.

A delay that does not grow is a constant named `…_RETRY_S` on the same clock: for a busy database, a broker that is
away, a refused row, a takeover, an outcome that our code cannot decide. Nothing here limits the attempts: each caller
retries until it succeeds or is cancelled. Beneath the port, nats-py reconnects by itself
(`adapters/jetstream/bounds.py`), and a timer renews a denied subscription (`adapters/jetstream/denial_handling.py`).
"""

import random
from typing import NamedTuple

import anyio

from shared.ports.clock import Clock


class Delays(NamedTuple):
    """From `first_s` up to `last_s` seconds, doubled each time.

    Jitter, so that many clients do not retry in step: each delay is shorter by at most the part `shortened_by`; each
    but the first is longer by at most `extended_by_s`.
    """

    first_s: float
    last_s: float
    shortened_by: float = 0.0
    extended_by_s: float = 0.0


class Backoff:
    """The delays between the attempts at one thing."""

    def __init__(self, delays: Delays) -> None:
        self._delays = delays
        self._base_s = delays.first_s

    def next_s(self) -> float:
        """The delay before the next attempt, in seconds."""
        first_s, last_s, shortened_by, extended_by_s = self._delays
        base_s = delay_s = self._base_s
        if shortened_by:
            delay_s *= random.uniform(1 - shortened_by, 1)  # noqa: S311  Jitter, no secret.
        if extended_by_s and base_s > first_s:
            delay_s = min(delay_s + random.uniform(0, extended_by_s), last_s)  # noqa: S311  Jitter, no secret.
        self._base_s = min(base_s * 2, last_s)
        return delay_s

    def reset(self) -> None:
        """Begin with the first delay again."""
        self._base_s = self._delays.first_s

    async def wait(self, clock: Clock, *, sooner: anyio.Event | None = None) -> None:
        """Wait before the next attempt, or until the event is set."""
        delay_s = self.next_s()
        if sooner is None:
            await clock.sleep(delay_s)
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_after, clock, delay_s, tasks.cancel_scope)
            await sooner.wait()
            tasks.cancel_scope.cancel()


async def _cancel_after(clock: Clock, delay_s: float, scope: anyio.CancelScope) -> None:
    await clock.sleep(delay_s)
    scope.cancel()
