"""Leaves the numbers of levels out of decisions, for tests that are about the units."""

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from contexts.inventory.events import StockLevelChanged


def unnumbered(decide: Callable[..., tuple[Any, ...]]) -> Callable[..., tuple[Any, ...]]:
    """The same decisions, each level with the number 0."""

    def decided(*arguments: Any) -> tuple[Any, ...]:
        events = decide(*arguments)
        return tuple(replace(event, number=0) if isinstance(event, StockLevelChanged) else event for event in events)

    return decided
