"""Runs a transaction on the database of a group, as its process or a second fold does."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from shared.ports.views import ViewTransaction

T = TypeVar("T")


class Transact(Protocol):
    """Runs `work` in a transaction of its own."""

    def __call__(self, work: Callable[[ViewTransaction], T], /) -> Awaitable[T]:
        """The result of `work`."""
        ...
