"""Decodes message bodies, which are bare JSON, strictly and within bounds."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from shared.wire.messages import NEVER

BODY_BYTES_AT_MOST = 64 * 1024
"""A larger body is refused before it is parsed. The streams refuse it too (`max_msg_size` in streams.yaml)."""

PROBLEM_LENGTH_AT_MOST = 500
"""A problem may quote the body and is sent back to its sender, so its length is bounded."""

_PATH = re.compile(r" - at `([^`]+)`$")


class MalformedBodyError(ValueError):
    """A body does not match its message type; `path` is a JSON path such as `$.items[0].size`."""

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem[:PROBLEM_LENGTH_AT_MOST]
        super().__init__(f"{self.problem} - at `{path}`")


T = TypeVar("T", bound=Struct)


def check_size(body: bytes) -> None:
    """Raise MalformedBodyError when the body is too large to parse."""
    if len(body) > BODY_BYTES_AT_MOST:
        raise MalformedBodyError("$", f"{len(body)} bytes are more than the {BODY_BYTES_AT_MOST} a body may have")


@cache
def json_decoder(decoded: type[T]) -> msgspec.json.Decoder[T]:
    """The decoder of a type. It keeps nothing of what it decodes, and is slow to make, so a type has one."""
    return msgspec.json.Decoder(decoded)


class BodyDecoder(Generic[T]):
    """Decodes the bodies of one message type, and sets the fields that come from the subject and the stream.

    A `strict` decoder also refuses a JSON object with a duplicate key; it is for messages of clients.
    """

    def __init__(self, message_type: type[T], *, strict: bool) -> None:
        self.message_type = message_type
        self._strict = strict
        self._decoder: msgspec.json.Decoder[T] = json_decoder(message_type)
        stamped = stamped_fields(message_type)
        self.key_field = stamped.get("key")
        self.at_field = stamped.get("at")
        self.actor_field = stamped.get("actor")

    def decode(self, body: bytes, *, key: str, at: datetime, actor: str = "") -> T:
        """Decode one body; raises MalformedBodyError with the JSON path and the problem.

        `actor` is in whose name the message is sent.
        """
        check_size(body)
        try:
            if self._strict:
                _strict_json.decode(body.decode())
            message = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _located(error) from error
        except MalformedBodyError:
            raise
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise MalformedBodyError("$", f"not JSON that can be read: {error}") from error
        if self.key_field is not None:
            self._stamp(message, self.key_field, key)
        if self.at_field is not None:
            if getattr(message, self.at_field) != NEVER:
                raise MalformedBodyError(f"$.{self.at_field}", "this field is set by the stream; leave it out")
            msgspec.structs.force_setattr(message, self.at_field, at)
        if self.actor_field is not None:
            if getattr(message, self.actor_field):
                raise MalformedBodyError(f"$.{self.actor_field}", "this field is set by a header; leave it out")
            msgspec.structs.force_setattr(message, self.actor_field, actor)
        return message

    def _stamp(self, message: T, field: str, key: str) -> None:
        value = getattr(message, field)
        if value == key:
            return
        if value:
            raise MalformedBodyError(f"$.{field}", f"the body names {str(value)[:80]!r} but the subject names {key!r}")
        msgspec.structs.force_setattr(message, field, key)


@cache
def stamped_fields(message_type: type[Struct]) -> Mapping[str, str]:
    """The fields that the decoder sets, by their source: `{"key": "thing_id", "at": "asked_at"}`."""
    found: dict[str, str] = {}
    described = msgspec.inspect.type_info(message_type)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        if isinstance(field.type, msgspec.inspect.Metadata) and field.type.extra and "stamped" in field.type.extra:
            found[field.type.extra["stamped"]] = field.name
    return found


def told_fields(message_type: type[Struct]) -> tuple[str, ...]:
    """The fields that are marked as TOLD, as they are named on the wire."""
    described = msgspec.inspect.type_info(message_type)
    assert isinstance(described, msgspec.inspect.StructType)
    return tuple(field.encode_name for field in described.fields if (_extra(field.type) or {}).get("told"))


def _extra(kind: msgspec.inspect.Type) -> dict[str, Any] | None:
    return kind.extra if isinstance(kind, msgspec.inspect.Metadata) else None


def _located(error: msgspec.ValidationError) -> MalformedBodyError:
    text = str(error)
    where = _PATH.search(text)
    if where is None:
        return MalformedBodyError("$", text)
    return MalformedBodyError(where.group(1), text[: where.start()])


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise MalformedBodyError("$", f"the key {twice[:80]!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise MalformedBodyError("$", f"{name} is not JSON")


_strict_json: Final = json.JSONDecoder(object_pairs_hook=_refuse_duplicate_keys, parse_constant=_refuse_constant)
