"""How messages look on the wire: subjects, keys, ids, headers and bodies (README, "On the wire").

One function checks a key, one builds each kind of subject, one reads a subject back; nobody else splits or joins one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Generic, Literal, NamedTuple, NewType, TypeVar

import msgspec
from msgspec import Struct

MessageId = NewType("MessageId", str)
Key = NewType("Key", str)

BODY_BYTES_AT_MOST = 64 * 1024
"""A larger body is refused before it is parsed; streams.yaml sets the same bound at the door."""

MESSAGE_ID_LENGTH_AT_MOST = 255
CAUSATION_DEPTH_AT_MOST = 32

MSG_ID = "Nats-Msg-Id"
CORRELATION_ID = "Correlation-Id"
CAUSATION_ID = "Causation-Id"
CAUSATION_HASH = "Causation-Hash"
CAUSATION_DEPTH = "Causation-Depth"
OCCURRED_AT = "Occurred-At"
SCHEMA_VERSION = "Schema-Version"
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
SCHEDULE_TTL = "Nats-Schedule-TTL"
TIMER_ID = "Timer-Id"

Kind = Literal["cmd", "evt", "due"]

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_MESSAGE_ID = re.compile(rf"[\x21-\x7e]{{1,{MESSAGE_ID_LENGTH_AT_MOST}}}")
_PATH = re.compile(r" - at `([^`]+)`$")

FROM_SUBJECT = msgspec.Meta(extra={"stamped": "key"})
"""Marks the field that takes the key of the subject: `order_id: Annotated[OrderId, FROM_SUBJECT] = OrderId("")`."""

FROM_STREAM = msgspec.Meta(extra={"stamped": "at"})
"""Marks the field that takes the time at which the stream stored it: `at: Annotated[datetime, FROM_STREAM] = NEVER`."""

NEVER = datetime.min.replace(tzinfo=UTC)


class Subject(NamedTuple):
    """A stored subject, taken apart."""

    kind: str
    context: str
    type: str
    partition: int
    key: Key


class MalformedKeyError(ValueError):
    """A key that no subject may carry."""


class MalformedSubjectError(ValueError):
    """A subject that is not one of Chorus's stored forms."""


class MalformedBodyError(ValueError):
    """A body that is not the JSON its type asks for; `path` is a JSON path such as `$.lines[0].quantity`."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{problem} - at `{path}`")
        self.path = path
        self.problem = problem


def check_key(key: str) -> Key:
    """Return the key; raise MalformedKeyError unless it is 1 to 64 of `A-Z a-z 0-9 _ -`."""
    if _KEY.fullmatch(key) is None:
        raise MalformedKeyError(f"{key[:80]!r} is not a key: use 1 to 64 of A-Z a-z 0-9 _ -")
    return Key(key)


def check_message_id(message_id: str) -> MessageId:
    """Return the id; raise ValueError unless it is 1 to 255 visible ASCII characters without spaces."""
    if _MESSAGE_ID.fullmatch(message_id) is None:
        raise ValueError(f"{message_id[:80]!r} is not a message id: use 1 to 255 visible ASCII characters, no spaces")
    return MessageId(message_id)


def command_subject(context: str, command: str, key: str) -> str:
    """Where a client publishes a command; raises MalformedKeyError."""
    return f"cmd.{context}.{command}.{check_key(key)}"


def event_subject(context: str, event: str, key: str) -> str:
    """Where a context publishes an event; raises MalformedKeyError."""
    return f"evt.{context}.{event}.{check_key(key)}"


def timer_subject(context: str, timer: str, key: str) -> str:
    """Where a context sets a timer; raises MalformedKeyError."""
    return f"timer.{context}.{timer}.{check_key(key)}"


def due_subject(context: str, timer: str, key: str) -> str:
    """Where the server publishes the timer when it is due; raises MalformedKeyError."""
    return f"due.{context}.{timer}.{check_key(key)}"


def dead_letter_subject(context: str, message_type: str, key: str) -> str:
    """Where a copy of a parked message goes; raises MalformedKeyError."""
    return f"dlq.{context}.{message_type}.{check_key(key)}"


def filter_subject(kind: Kind, context: str, message_type: str, partition: int) -> str:
    """What a consumer asks for: one type in one partition, every key."""
    return f"{kind}.{context}.{message_type}.{partition}.*"


def parse_subject(subject: str) -> Subject:
    """Take a stored subject apart; raises MalformedSubjectError, or MalformedKeyError when only its key is wrong."""
    tokens = subject.split(".", 4)
    if len(tokens) != 5 or tokens[0] not in ("cmd", "evt", "due") or not tokens[3].isdecimal():
        raise MalformedSubjectError(f"{subject[:200]!r} is no subject of COMMANDS, EVENTS or TIMERS")
    kind, context, message_type, partition, key = tokens
    return Subject(kind, context, message_type, int(partition), check_key(key))


def check_name(name: str) -> str:
    """Return the name of a context, command, event or timer; raise ValueError when a subject cannot carry it."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not a name: use a letter, then letters and digits, 64 at the most")
    return name


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """The partition into which the server's subject transform puts a key: FNV-1a, 32 bits, modulo `partitions`."""
    digest = 0x811C9DC5
    for byte in key.encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return digest % partitions


def event_id(context: str, aggregate: str, key: str, version: int) -> MessageId:
    """The id of an event: the same decision made again has the same id."""
    return MessageId(f"{context}/{aggregate}-{key}@{version}")


def content_hash(body: bytes) -> bytes:
    """16 bytes that tell whether two messages under one id say the same."""
    return hashlib.blake2b(body, digest_size=16).digest()


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with microseconds, e.g. `2026-11-21T09:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


T = TypeVar("T", bound=Struct)


class BodyDecoder(Generic[T]):
    """Decodes the bodies of one message type, and stamps the fields that come from the subject and the stream.

    A `strict` decoder, for what clients send, also refuses a JSON object that names one key twice.
    """

    def __init__(self, message_type: type[T], *, strict: bool) -> None:
        self.message_type = message_type
        self._strict = strict
        self._decoder = msgspec.json.Decoder(message_type)
        stamped = stamped_fields(message_type)
        self.key_field = stamped.get("key")
        self._at_field = stamped.get("at")

    def decode(self, body: bytes, *, key: str, at: datetime) -> T:
        """The message that `body` holds; raises MalformedBodyError naming the JSON path and the problem."""
        if len(body) > BODY_BYTES_AT_MOST:
            raise MalformedBodyError("$", f"{len(body)} bytes are more than the {BODY_BYTES_AT_MOST} a body may have")
        try:
            if self._strict:
                json.loads(body, object_pairs_hook=_refuse_duplicate_keys, parse_constant=_refuse_constant)
            message = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise _located(error) from error
        except MalformedBodyError:
            raise
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise MalformedBodyError("$", f"not JSON that can be read: {error}"[:300]) from error
        if self.key_field is not None:
            self._stamp(message, self.key_field, key)
        if self._at_field is not None:
            if getattr(message, self._at_field) != NEVER:
                raise MalformedBodyError(f"$.{self._at_field}", "this field is set by the stream; leave it out")
            msgspec.structs.force_setattr(message, self._at_field, at)
        return message

    def _stamp(self, message: T, field: str, key: str) -> None:
        said = getattr(message, field)
        if said == key:
            return
        if said:
            raise MalformedBodyError(f"$.{field}", f"the body names {str(said)[:80]!r} but the subject names {key!r}")
        msgspec.structs.force_setattr(message, field, key)


def stamped_fields(message_type: type[Struct]) -> Mapping[str, str]:
    """Which field is stamped with what: `{"key": "order_id", "at": "asked_at"}`."""
    found: dict[str, str] = {}
    described = msgspec.inspect.type_info(message_type)
    assert isinstance(described, msgspec.inspect.StructType)
    for field in described.fields:
        if isinstance(field.type, msgspec.inspect.Metadata) and field.type.extra and "stamped" in field.type.extra:
            found[field.type.extra["stamped"]] = field.name
    return found


def _located(error: msgspec.ValidationError) -> MalformedBodyError:
    text = str(error)
    where = _PATH.search(text)
    if where is None:
        return MalformedBodyError("$", text)
    return MalformedBodyError(where.group(1), text[: where.start()])


def _refuse_duplicate_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedBodyError("$", f"the key {twice[:80]!r} stands twice in one object")
    return found


def _refuse_constant(name: str) -> None:
    raise MalformedBodyError("$", f"{name} is not JSON")
