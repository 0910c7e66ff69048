"""Lists every message of a system that others may write or read, each with the path of its schema."""

from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

from shared.context import Context, Endpoint, Service
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

    @property
    def path(self) -> str:
        """The path of its schema, such as `here/events/ThingDone.json`."""
        return f"{self.context}/{self.kind}/{self.name}.json"

    @property
    def place(self) -> str:
        """The message as commands and findings name it."""
        return f"{self.context}.{self.name}"


def published_messages(members: Iterable[Context | Service]) -> tuple[PublishedMessage, ...]:
    """Every event and every command that clients may send, and every request; in the order of their paths."""
    found = [PublishedMessage(OF_EVERY_CONTEXT, "events", event.__name__, event) for event in ENGINE_EVENTS]
    for context in contexts_of(members):
        found += _of(context)
    return tuple(sorted(found, key=lambda message: message.path))


def contexts_of(members: Iterable[Context | Service]) -> list[Context]:
    """The contexts without the services, by name; a service declares no type of its messages."""
    return sorted((one for one in members if isinstance(one, Context)), key=lambda context: context.name)


def endpoint_of(context: Context, operation: str) -> Endpoint:
    """The endpoint of an operation."""
    return next(endpoint for endpoint in context.endpoints if endpoint.operation == operation)


def _of(context: Context) -> Iterator[PublishedMessage]:
    for event in context.publishes:
        yield PublishedMessage(context.name, "events", event.__name__, event)
    for command in context.accepts:
        yield PublishedMessage(context.name, "commands", command.__name__, command)
    for endpoint in context.endpoints:
        yield PublishedMessage(context.name, "requests", endpoint.operation, endpoint.request)
