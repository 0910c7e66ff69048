"""Declares a service: a process that answers requests, and neither hears events nor publishes any.

A simulated outside system is one; `shared/context.py` declares bounded contexts.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from shared.endpoint import Endpoints


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A process that only answers requests (ADR-32). `open(directory)` gives its endpoints while it is entered.

    `directory` is where its database lives.
    """

    name: str
    version: str
    description: str
    open: Callable[[Path], AbstractAsyncContextManager[Endpoints]]
