"""Limits how many requests a client may send: a bucket of tokens for each address, and a bounded number of buckets."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

CLIENTS_AT_MOST: Final = 10_000
"""The client that was heard of longest ago is forgotten first; it then begins with a full bucket."""


class Rate:
    """`per_s` requests a second from each client, and a burst of twice as many."""

    def __init__(self, per_s: float, now: Callable[[], float]) -> None:
        self._per_s = per_s
        self._burst = max(1.0, 2 * per_s)
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """Take one token; 0.0 when there was one, else after how many seconds there is one."""
        now = self._now()
        tokens, at = self._buckets.pop(client, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_s)
        wait_s = 0.0 if tokens >= 1.0 else (1.0 - tokens) / self._per_s
        self._buckets[client] = (tokens - 1.0 if wait_s == 0.0 else tokens, now)
        if len(self._buckets) > CLIENTS_AT_MOST:
            self._buckets.popitem(last=False)
        return wait_s
