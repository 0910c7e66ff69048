"""Upcasters: an event of an older schema version becomes the newest form of itself before anyone decides on it.

A context raises its `schema_version` together with an upcaster. Events that were published before keep their form in
streams, journals and armed deadlines. Every reader of the new form, the publisher itself first, declares how to make it
of the older one; a reader that does not need what is new declares nothing.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from shared.wire.bodies import BodyDecoder, MalformedBodyError
from shared.wire.messages import NEVER, OCCURRED_AT, SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Upcaster:
    """Makes the next form of an event, as this context declares it, of an older form.

    `until` is the last schema version of `source` whose events have the form `older`; `source` is empty for an event
    of the context itself. `upcast(event, occurred_at)` is pure. It returns `event`, or the `older` of the next upcaster
    of this event.
    """

    event: type[Struct]
    older: type[Struct]
    until: int
    upcast: Callable[[Any, datetime], Struct]
    source: str = ""

    def is_of(self, source: str, event: type[Struct]) -> bool:
        """Whether it is for this event of this context; `source` is empty for the context itself."""
        return self.source == source and self.event is event


class EventDecoder:
    """Decodes an event in each of its versions, and gives its newest form. Without upcasters it is a BodyDecoder."""

    def __init__(self, event: type[Struct], upcasters: Iterable[Upcaster] = ()) -> None:
        self.newest: BodyDecoder[Any] = BodyDecoder(event, strict=False)
        chain = sorted(upcasters, key=lambda upcaster: upcaster.until)
        decoders: list[BodyDecoder[Any]] = [BodyDecoder(upcaster.older, strict=False) for upcaster in chain]
        self._older: dict[str, tuple[BodyDecoder[Any], list[Upcaster]]] = {}
        """By the header Schema-Version: the decoder of that form, and the upcasters from there on."""
        for first, upcaster in reversed([*enumerate(chain)]):
            for version in range(1, upcaster.until + 1):
                self._older[str(version)] = (decoders[first], chain[first:])
        if chain:  # The oldest timers do not say their version.
            self._older[""] = self._older["1"]

    @property
    def if_any(self) -> "EventDecoder | None":
        """This decoder, or None where there is no older form."""
        return self if self._older else None

    def is_older(self, headers: Mapping[str, str]) -> bool:
        """Whether a message with these headers has an older form."""
        return headers.get(SCHEMA_VERSION, "") in self._older

    def decode(self, body: bytes, *, key: str, at: datetime, headers: Mapping[str, str]) -> Any:
        """Decode one event; `at` is when it was stored. Raises MalformedBodyError, also when an upcaster fails."""
        older = self._older.get(headers.get(SCHEMA_VERSION, "")) if self._older else None
        if older is None:
            return self.newest.decode(body, key=key, at=at)
        decoder, upcasters = older
        event = decoder.decode(body, key=key, at=NEVER if decoder.at_field is None else at)
        try:
            occurred_at = datetime.fromisoformat(headers[OCCURRED_AT]) if OCCURRED_AT in headers else at
            for upcaster in upcasters:
                event = upcaster.upcast(event, occurred_at)
        except Exception as error:  # A builder's code may raise any.
            name = self.newest.message_type.__name__
            problem = f"the upcaster of {name} fails: {type(error).__name__}: {error}"
            raise MalformedBodyError("$", problem) from error
        if self.newest.at_field is not None:
            msgspec.structs.force_setattr(event, self.newest.at_field, at)
        return event
