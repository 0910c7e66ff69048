"""Declares a saga for watchers: how it begins, how it ends, and after how long it is slow.

A package of contexts declares its sagas as `SAGAS` in its `sagas.py`. The declaration controls nothing: no context
reads it. Timelines, `chorus flow` and tests do.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """One way in which a saga ends: all of these events were published under its key. Events are `context.Event`."""

    name: str
    events: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A saga is on hold from `event` on, until one of the events `until` comes; all of them have the saga's key.

    The command `ended_by` of a client ends it. `keys` is the path to that command's keys in `event`: `parts.part_id`.
    """

    event: str
    until: tuple[str, ...]
    ended_by: str
    keys: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Saga:
    """One kind of saga. `key` is the field that names one in every event; any of the `first` events begins it.

    It is slow when it has not ended `slow_after` its first event. Every step before the event `pivot` can be undone.
    For the commands of clients in `waits_for`, as `context.Command`, the saga may wait without a deadline. In `pauses`
    nothing of it is under way either, and a command under another key ends them. The events `beyond` come only after
    an end, although the code alone does not show it; boards end there too.
    """

    name: str
    key: str
    first: tuple[str, ...]
    ends: tuple[End, ...]
    slow_after: timedelta
    pivot: str = ""
    waits_for: tuple[str, ...] = ()
    pauses: tuple[Pause, ...] = ()
    beyond: tuple[str, ...] = ()

    def has_begun(self, published: Iterable[str]) -> bool:
        """Whether events, `context.Event` each, begin a saga of this kind."""
        return not {*self.first}.isdisjoint(published)

    def end(self, published: Iterable[str]) -> End | None:
        """The end that these events have reached; None while the saga goes on."""
        events = {*published}
        return next((end for end in self.ends if events.issuperset(end.events)), None)
