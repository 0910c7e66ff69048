"""Declares an effect: a call to the outside that an event of a context asks for, until its outcome is known."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from msgspec import Struct


class UnknownOutcomeError(Exception):
    """The outcome of an outside call is unknown: repeat it with the same key, and never guess."""


class Call(Protocol):
    """The tools of an effect while it calls the outside."""

    @property
    def idempotency_key(self) -> str:
        """The id of the event that asked: the same on every attempt."""
        ...

    @property
    def attempt(self) -> int:
        """1 on the first call, counting up over restarts."""
        ...

    @property
    def now(self) -> datetime:
        """The time, aware and UTC; virtual in simulations."""
        ...

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """A NATS request: the answer's headers and body. Raises UnknownOutcomeError when none came in time."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A call to the outside that `asked_by` this event of the context wants.

    `call(event, call)` returns the outcome, done or refused, as a command of the context; any exception means that the
    outcome is unknown and the same call is made again, later, with the same key. `outcomes` lists the commands it may
    return. Effects of one key run one after the other, in the order of their events.

    `lookup` is the subject, if there is one, on which the outside tells whether it still has the answer of a key. After
    each start of the outside it is asked for the newest ones; an alarm is raised while it lacks one.
    """

    asked_by: type[Struct]
    call: Callable[[Any, Call], Awaitable[Struct]]
    outcomes: tuple[type[Struct], ...]
    timeout_s: float = 10.0
    at_once: int = 64
    lookup: str = ""
