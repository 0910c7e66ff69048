"""The permissions that the server denies to this connection's user.

The server names the denied subject in an asynchronous error and never answers the request itself.
"""

import time
from collections.abc import Callable, Iterable

import nats.errors
import structlog

from shared.adapters.jetstream.nats_py import Action
from shared.ports.broker import Denial

DENIALS_AT_MOST = 100
EXPIRES_AFTER_S = 40.0
"""A denial that the server does not repeat expires; every retry comes sooner than this."""

_log = structlog.get_logger("chorus.broker")


class DeniedError(nats.errors.Error):
    """The server denied the request and will not answer it."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(f"permissions violation: user {denial.user} may not {denial.action} to {denial.subject}")
        self.denial = denial


class Denials:
    """The current denials, at most 100; `user` is the name of this connection's user."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.user = "of this connection"
        self._now = now
        self._last: dict[tuple[Action, str], tuple[Denial, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._last)

    @property
    def current(self) -> list[Denial]:
        """The denials of the last EXPIRES_AFTER_S."""
        after = self._now() - EXPIRES_AFTER_S
        for denied in [denied for denied, (_, at) in self._last.items() if at < after]:
            del self._last[denied]
        return [denial for denial, _ in self._last.values()]

    def record(self, action: Action, subject: str) -> Denial:
        """Record a denial, new or repeated."""
        before = self._last.get((action, subject))
        denial = Denial(action, subject, self.user, 1 if before is None else before[0].times + 1)
        if before is None:
            _log.info("permission denied", action=action, subject=subject, user=self.user)
            if len(self._last) >= DENIALS_AT_MOST:
                del self._last[next(iter(self._last))]
        self._last[action, subject] = (denial, self._now())
        return denial

    def clear(self, action: Action, subjects: Iterable[str], *, unless_after: float = float("inf")) -> None:
        """Remove the denials of subjects that the server now allows, except those recorded after `unless_after`."""
        for subject in subjects:
            known = self._last.get((action, subject))
            if known is not None and known[1] < unless_after:
                del self._last[action, subject]
