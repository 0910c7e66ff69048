"""Lists every message of a system that others may write or read, each with the path of its schema."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from shared.context import Endpoint, Member
from shared.wire.engine_events import ENGINE_EVENTS

Kind: TypeAlias = Literal["events", "commands", "requests"]

OF_EVERY_CONTEXT = "every-context"
"""Stands for a context in the paths of the engine's own events; no context can have this name."""


class PublishedMessage(NamedTuple):
    """A message that crosses the border of its context."""

    context: str
    kind: Kind
    name: str
    type: type[Struct]
    until: int | None = None
    """The last Schema-Version of this form of an event; None for the form of today."""

    @property
    def path(self) -> str:
        """The path of its schema, such as `here/events/ThingDone.json`, or `ThingDone.1.json` of an older form."""
        form = "" if self.until is None else f".{self.until}"
        return f"{self.context}/{self.kind}/{self.name}{form}.json"


def published_messages(members: Iterable[Member]) -> tuple[PublishedMessage, ...]:
    """Every event in each of its versions, every command that clients may send, every request; in order of path."""
    found = [PublishedMessage(OF_EVERY_CONTEXT, "events", event.__name__, event) for event in ENGINE_EVENTS]
    for context in contexts_of(members):
        found += _of(context)
    return tuple(sorted(found, key=lambda message: message.path))


def contexts_of(members: Iterable[Member]) -> list[Member]:
    """The contexts by name."""
    return sorted(members, key=lambda context: context.name)


def endpoint_of(context: Member, operation: str) -> Endpoint:
    """The endpoint of an operation."""
    return next(endpoint for endpoint in context.endpoints if endpoint.operation == operation)


def _of(context: Member) -> Iterator[PublishedMessage]:
    for event in context.publishes:
        yield PublishedMessage(context.name, "events", event.__name__, event)
    for upcaster in (one for one in context.upcasters if not one.source):
        yield PublishedMessage(context.name, "events", upcaster.event.__name__, upcaster.older, upcaster.until)
    for command in context.accepts:
        yield PublishedMessage(context.name, "commands", command.__name__, command)
    for endpoint in context.endpoints:
        yield PublishedMessage(context.name, "requests", endpoint.operation, endpoint.request)
