"""Finds the events that a new context hears: the event of another context, and the field and the type of its key."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NewType, get_type_hints

from shared.config.spelling import did_you_mean
from shared.context import Context
from shared.new.changes import NewError


class Heard(NamedTuple):
    """An event of another context. `key_type` is a type of the kernel, or `str`."""

    source: str
    event: str
    key: str
    key_type: str


def find_heard(names: Iterable[str], members: Mapping[str, Context], package: str) -> tuple[Heard, ...]:
    """Return each event that is named `CONTEXT.EVENT`, once.

    Raises:
        NewError: no context publishes it; the text suggests one that was probably meant.
    """
    return tuple(_find(name, members, package) for name in dict.fromkeys(names))


def _find(name: str, members: Mapping[str, Context], package: str) -> Heard:
    source, _, event = name.partition(".")
    published = {
        f"{one.name}.{kind.__name__}": (aggregate.key, kind)
        for one in members.values()
        for aggregate in one.aggregates
        for kind in aggregate.events
    }
    if name in published:
        key, kind = published[name]
        return Heard(source, event, key, _type_of_the_key(kind, key, package))
    if source in members and event:
        known = [one.partition(".")[2] for one in published if one.startswith(f"{source}.")]
        meant = did_you_mean(event, known) or f"; it publishes {', '.join(known)}"
        raise NewError(f"--hears {name}: {source} publishes no event {event!r}{meant}")
    there = did_you_mean(name, published) or f"; there are {', '.join(members)}"
    raise NewError(f"--hears {name}: write CONTEXT.EVENT, an event that a context here publishes{there}")


def _type_of_the_key(event: type[Any], key: str, package: str) -> str:
    """Return the name of the key's type where the kernel declares it, which all contexts may import."""
    declared = get_type_hints(event).get(key)
    if isinstance(declared, NewType) and declared.__module__ == f"{package}.kernel":
        return str(declared.__name__)
    return "str"
