"""Declares a service: a process that answers requests, and neither hears events nor publishes any.

A simulated outside system is one; `shared/context.py` declares bounded contexts.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeAlias


@dataclass(frozen=True, slots=True)
class Request:
    """A request to a service endpoint."""

    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a service endpoint; `error` is (code, text) for the ADR-32 error headers."""

    body: bytes = b""
    error: tuple[str, str] | None = None


Endpoints: TypeAlias = Mapping[str, Callable[[Request], Awaitable[Answer | None]]]
"""Handlers by subject; None is an answer that never comes."""

NO_ENDPOINTS: Final[Endpoints] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process that only answers requests (ADR-32). `open(directory)` gives its endpoints while it is entered.

    `directory` is where its database lives.
    """

    name: str
    version: str
    description: str
    open: Callable[[Path], AbstractAsyncContextManager[Endpoints]]
