"""Requests and answers: what a process hands to the broker to serve, and how a context declares that it answers.

A request that a context answers is decided like a command, in the same order and the same transaction, and the answer
goes back after the commit. Nothing waits in a stream: a client that gets no answer asks again under the same
`Idempotency-Key`, and the context gives each key one answer for ever.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from msgspec import Struct


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a service endpoint."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a service endpoint; `error` is (code, text) for the ADR-32 error headers, instead of `headers`."""

    body: bytes = b""
    error: tuple[str, str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


Endpoints: TypeAlias = Mapping[str, Callable[[Request], Awaitable[Answer | None]]]
"""Handlers by subject; a handler that returns None sends no answer."""

NO_ENDPOINTS: Final[Endpoints] = MappingProxyType({})

AT_ONCE: Final[Callable[[Any, tuple[Struct, ...]], float]] = lambda command, events: 0.0  # noqa: ARG005, E731 - a default


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Requests on `subject`, `svc.<context>.<operation>`, whose body is `request`.

    `asks(request)` gives the command that a decider of the context answers; `answer(events)` makes the reply from
    the events of that decision. Both are pure. A rebuild makes the answers again from the events alone. So an answer
    that depends on the moment, such as a refusal, needs an event. A new field of `request` needs a default
    and `omit_defaults=True`: dedup compares requests by what they say.

    `reply_delay_s(command, events)` is for a context that simulates an outside: the seconds before it sends the first
    answer; infinity loses the answer.
    """

    subject: str
    request: type[Struct]
    asks: Callable[[Any], Struct]
    answer: Callable[[tuple[Struct, ...]], Struct]
    reply_delay_s: Callable[[Any, tuple[Struct, ...]], float] = AT_ONCE

    @property
    def operation(self) -> str:
        """The last token of the subject."""
        return self.subject.rpartition(".")[2]
