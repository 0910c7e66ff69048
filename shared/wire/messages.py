"""How messages look on the wire: subjects, keys, ids and headers (docs/wire.md).

One function checks a key, one builds each kind of subject, one reads a subject back; nobody else splits or joins one.
"""

import hashlib
import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple, NewType

import msgspec

MessageId = NewType("MessageId", str)
Key = NewType("Key", str)

MESSAGE_ID_LENGTH_AT_MOST = 255
CAUSATION_DEPTH_AT_MOST = 32
COMMAND_DEPTH_AT_MOST = 16
"""Leaves room for the reactions to a command: the longest chain of them may be as deep again."""

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
_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARTITION = re.compile(r"[0-9]{1,4}")
_EVENT_ID = re.compile(r"[^/@]+/.+@[1-9][0-9]{0,11}")
_EDITION = re.compile(r"([^/@]+/.+@[1-9][0-9]{0,11}(?:/[A-Za-z][A-Za-z0-9]{0,63})?)\.([2-9]|[1-9][0-9]{1,8})")
_MESSAGE_ID = re.compile(rf"[\x21-\x7e]{{1,{MESSAGE_ID_LENGTH_AT_MOST}}}")

FROM_SUBJECT = msgspec.Meta(extra={"stamped": "key"})
"""Marks the field that takes the key of the subject: `key: Annotated[Key, FROM_SUBJECT] = Key("")`."""

FROM_STREAM = msgspec.Meta(extra={"stamped": "at"})
"""Marks the field that takes the time at which the stream stored it: `at: Annotated[datetime, FROM_STREAM] = NEVER`."""

TOLD = msgspec.Meta(extra={"told": True})
"""Marks a field that is worth a place in one line of a timeline: `reason: Annotated[Reason, TOLD]`."""

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


def check_command_id(message_id: str) -> MessageId:
    """Return the id that a client gave its command; raise ValueError when it could be mistaken for one of ours.

    Events are `here/thing-k-42@1` and messages without an id `COMMANDS@…/7`. A context remembers all ids in one
    place, so a command under the id of an event to come would take that event's place.
    """
    if "/" in message_id and "@" in message_id:
        raise ValueError(f"{message_id[:80]!r} has both / and @, as only the ids that Chorus gives; use another id")
    return check_message_id(message_id)


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
    if len(tokens) == 4:  # The server puts no partition into a subject with the key `*` or `>`.
        check_key(tokens[3])
    if len(tokens) != 5 or tokens[0] not in ("cmd", "evt", "due") or _PARTITION.fullmatch(tokens[3]) is None:
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


def aggregate_id(name: str, key: str, part: str | int | None = None) -> str:
    """The id of an aggregate within its context: `thing-k-42`, or `item-k-42.p-1` with the part `p-1`.

    A part that is not 1 to 64 of `A-Z a-z 0-9 _ -` is spelled as `~` and 32 hex digits of its BLAKE2b hash. Neither `.`
    nor `~` can stand in a key, so two aggregates never share an id.
    """
    if part is None:
        return f"{name}-{key}"
    spelled = str(part)
    if _PART.fullmatch(spelled) is None:
        spelled = f"~{content_hash(spelled.encode(errors='surrogatepass')).hex()}"
    return f"{name}-{key}.{spelled}"


def aggregate_name(identity: str) -> str:
    """The name in an aggregate's id: `thing` of `thing-k-42`."""
    return identity.partition("-")[0]


def event_id(context: str, aggregate: str, version: int) -> MessageId:
    """The id of an event of the aggregate with this id: the same decision made again has the same id."""
    return MessageId(f"{context}/{aggregate}@{version}")


def is_event_id(message_id: str) -> bool:
    """Whether the id has the form that `event_id` gives, in whatever edition."""
    return _EVENT_ID.fullmatch(split_edition(message_id)[0]) is not None


def split_edition(message_id: str) -> tuple[str, int]:
    """An id without its edition, and the edition: `here/thing-k-1@1.2` gives `here/thing-k-1@1` and 2.

    An id that names no edition is the first one.
    """
    found = _EDITION.fullmatch(message_id)
    return (message_id, 1) if found is None else (found[1], int(found[2]))


def next_edition(message_id: str) -> MessageId:
    """The id under which a context publishes the same fact once an operator has declared this id a stranger's.

    A later edition is the same version of the same aggregate, and the highest edition in EVENTS is the fact.
    """
    first, edition = split_edition(message_id)
    return MessageId(f"{first}.{edition + 1}")


def place_id(stream: str, sequence: int, at: datetime) -> MessageId:
    """The id of a message that says none: where it stands, and since when.

    The time is part of it because a stream that lost its end, such as an older copy, gives the same places once more.
    """
    return MessageId(f"{stream}@{rfc3339(at)}/{sequence}")


def content_hash(body: bytes) -> bytes:
    """16 bytes that tell whether two messages under one id say the same."""
    return hashlib.blake2b(body, digest_size=16).digest()


def rfc3339(moment: datetime) -> str:
    """A moment as RFC 3339 in UTC with microseconds, e.g. `2026-11-21T09:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
