"""Tells how the sagas under a key stand: how each ended, or that it goes on, and whether it is slow."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from shared.config.units import format_duration, span
from shared.inspect.timeline.tree import Message
from shared.saga import Saga


def standings(sagas: Iterable[Saga], messages: Sequence[Message], now: datetime) -> list[str]:
    """A line for each saga that these messages begin, such as `thing: done after 38.9 ms`."""
    published_at: dict[str, datetime] = {}
    for message in sorted(messages, key=lambda stored: stored.at):
        if message.kind == "evt" and not message.strange:
            published_at.setdefault(f"{message.context}.{message.type}", message.at)
    return [_standing(saga, published_at, now) for saga in sagas if saga.has_begun(published_at)]


def _standing(saga: Saga, published_at: dict[str, datetime], now: datetime) -> str:
    began = min(published_at[event] for event in saga.first if event in published_at)
    if (end := saga.end(published_at)) is not None:
        return f"{saga.name}: {end.name} after {span(max(published_at[event] for event in end.events) - began)}"
    goes_on = max(now - began, timedelta(0))
    slow = f", which is slow: it should end within {format_duration(saga.slow_after)}"
    return f"{saga.name}: goes on for {span(goes_on)}{slow if goes_on > saga.slow_after else ''}"
