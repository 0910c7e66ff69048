"""Selects the fields of a message that a timeline shows: those that the message's type marks as TOLD."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct

from shared.context import Context
from shared.inspect.timeline import Message
from shared.wire.bodies import told_fields
from shared.wire.engine_events import ENGINE_EVENTS

LENGTH_AT_MOST = 80


class Telling:
    """The marked fields of the messages of some contexts. Of a message of any other context it tells nothing."""

    def __init__(self, contexts: Iterable[Context] = ()) -> None:
        self._fields: dict[tuple[str, str], tuple[str, ...]] = {}
        for context in contexts:
            messages: tuple[type[Struct], ...] = (*context.accepts, *context.publishes, *ENGINE_EVENTS)
            named = {message.__name__: message for message in messages}
            named |= {timer.name: timer.armed_by for timer in context.timers}
            self._fields |= {(context.name, name): told_fields(message) for name, message in named.items()}

    def says(self, message: Message) -> Mapping[str, str]:
        """The marked fields of the body that are text and do not repeat the key."""
        said: Any = None
        with suppress(msgspec.DecodeError, RecursionError):
            said = msgspec.json.decode(message.body)
        if not isinstance(said, dict):
            return {}
        told = self._fields.get((message.context, message.type), ())
        texts = {name: said[name] for name in told if isinstance(said.get(name), str) and said[name] != message.key}
        # Of a traceback, the last line names the error.
        return {name: (text.strip().splitlines() or [""])[-1][:LENGTH_AT_MOST] for name, text in texts.items()}
