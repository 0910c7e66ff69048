"""The permissions that the server denies to this connection's user.

The server names the denied subject in an asynchronous error and leaves the request itself unanswered. nats-py passes
that error on in lower case. So the subjects that were really asked are looked up among what this client has sent.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import Literal, TypeAlias

import nats.errors
import structlog

from shared.ports.broker import Denial

REMEMBERED_AT_MOST = 100
LASTS_S = 40.0
"""A denial that nothing contradicts is over this long after the server last said it; every retry comes sooner."""

Action: TypeAlias = Literal["publish", "subscribe"]

_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]*)"')

_log = structlog.get_logger("chorus.broker")


class DeniedError(nats.errors.Error):
    """The server denied what was asked: it will not answer."""

    def __init__(self, denial: Denial) -> None:
        super().__init__(f"permissions violation: user {denial.user} may not {denial.action} to {denial.subject}")


class Denials:
    """What is denied now, at most 100 subjects; `user` is who is denied it."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.user = "of this connection"
        self._now = now
        self._last: dict[tuple[Action, str], tuple[Denial, float]] = {}

    def __bool__(self) -> bool:
        return bool(self._last)

    @property
    def current(self) -> list[Denial]:
        """What the server has denied within LASTS_S."""
        after = self._now() - LASTS_S
        for place in [place for place, (_, at) in self._last.items() if at < after]:
            del self._last[place]
        return [denial for denial, _ in self._last.values()]

    def add(self, action: Action, subject: str) -> Denial:
        """The server has denied this, perhaps not for the first time."""
        before = self._last.get((action, subject))
        denial = Denial(action, subject, self.user, 1 if before is None else before[0].times + 1)
        if before is None:
            _log.info("permission denied", action=action, subject=subject, user=self.user)
            if len(self._last) >= REMEMBERED_AT_MOST:
                del self._last[next(iter(self._last))]
        self._last[action, subject] = (denial, self._now())
        return denial

    def over(self, action: Action, subjects: Iterable[str], *, unless_after: float = float("inf")) -> None:
        """The server has just allowed these; a denial after the moment `unless_after` stands all the same."""
        for subject in subjects:
            known = self._last.get((action, subject))
            if known is not None and known[1] < unless_after:
                del self._last[action, subject]


def denied_in(error: Exception) -> tuple[Action, str] | None:
    """What an error of the server's denies: the action and the subject in lower case; None when it is about more."""
    found = _VIOLATION.search(str(error))
    if found is None:
        return None
    return ("publish" if found[1] == "publish" else "subscribe"), found[2]
