"""Selects the fields of a message that a timeline shows: those that the message's type marks as TOLD."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from shared.context import Context
from shared.inspect.timeline.tree import Message
from shared.wire.bodies import told_fields
from shared.wire.engine_events import ENGINE_EVENTS

LENGTH_AT_MOST = 80


class ToldFields:
    """The told fields of the messages of some contexts. A message of any other context has none."""

    def __init__(self, contexts: Iterable[Context] = ()) -> None:
        self._fields: dict[tuple[str, str], tuple[str, ...]] = {}
        self._closed: dict[tuple[str, str], frozenset[str]] = {}
        for context in contexts:
            messages: tuple[type[Struct], ...] = (*context.accepts, *context.publishes, *ENGINE_EVENTS)
            named = {message.__name__: message for message in messages}
            named |= {timer.name: timer.armed_by for timer in context.timers}
            self._fields |= {(context.name, name): told_fields(message) for name, message in named.items()}
            self._closed |= {(context.name, name): closed_fields(message) for name, message in named.items()}

    def of(self, message: Message) -> Mapping[str, str]:
        """The told fields of the body that are text and do not repeat the key."""
        body: Any = None
        with suppress(msgspec.DecodeError, RecursionError):
            body = msgspec.json.decode(message.body)
        if not isinstance(body, dict):
            return {}
        told = self._fields.get((message.context, message.type), ())
        texts = {name: body[name] for name in told if isinstance(body.get(name), str) and body[name] != message.key}
        # Of a traceback, the last line names the error.
        return {name: (text.strip().splitlines() or [""])[-1][:LENGTH_AT_MOST] for name, text in texts.items()}

    def kind_of(self, message: Message) -> tuple[str, ...]:
        """The told values from a closed set, such as a reason: they distinguish one kind of message from another."""
        closed = self._closed.get((message.context, message.type), frozenset())
        return tuple(value for name, value in self.of(message).items() if name in closed)


def closed_fields(message_type: type[Struct]) -> frozenset[str]:
    """The fields whose values are from a closed set, as they are named on the wire."""
    described = msgspec.inspect.type_info(message_type)
    assert isinstance(described, msgspec.inspect.StructType)
    return frozenset(field.encode_name for field in described.fields if _is_closed(field.type))


def _is_closed(kind: msgspec.inspect.Type) -> bool:
    match kind:
        case msgspec.inspect.Metadata():
            return _is_closed(kind.type)
        case msgspec.inspect.UnionType():
            return all(map(_is_closed, kind.types))
        case _:
            return isinstance(kind, msgspec.inspect.LiteralType | msgspec.inspect.EnumType | msgspec.inspect.NoneType)
