"""The wire format of messages: subjects, keys, ids and headers (docs/wire.md).

One function checks keys, one builds each kind of subject, and one parses subjects.
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
"""The rest of CAUSATION_DEPTH_AT_MOST is for the chain of messages that a command starts."""

MSG_ID = "Nats-Msg-Id"
CORRELATION_ID = "Correlation-Id"
CAUSATION_ID = "Causation-Id"
CAUSATION_HASH = "Causation-Hash"
CAUSATION_SUBJECT = "Causation-Subject"
CAUSATION_DEPTH = "Causation-Depth"
OCCURRED_AT = "Occurred-At"
SCHEMA_VERSION = "Schema-Version"
SCHEDULE = "Nats-Schedule"
SCHEDULE_TARGET = "Nats-Schedule-Target"
SCHEDULE_TTL = "Nats-Schedule-TTL"
TIMER_ID = "Timer-Id"
IDEMPOTENCY_KEY = "Idempotency-Key"
ANSWERING_SINCE = "Answering-Since"
ACTING_FOR = "Acting-For"
"""Of a command or a query: in whose name it is sent, as the sender that authenticated its user says."""
ACTOR_LENGTH_AT_MOST = 200

Kind = Literal["cmd", "evt", "due"]

LAST_VERSION = 10**12 - 1
LAST_EDITION = 10**9 - 1
"""The largest numbers for which the forms of ids below have room."""
LONGEST_KEY = "k" * 64

_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_PART = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PARTITION = re.compile(r"[0-9]{1,4}")
_EVENT_ID = re.compile(r"[^/@]+/.+@[1-9][0-9]{0,11}")
_EDITION = re.compile(r"([^/@]+/.+@[1-9][0-9]{0,11}(?:/[A-Za-z][A-Za-z0-9]{0,63})?)\.([2-9]|[1-9][0-9]{1,8})")
_MESSAGE_ID = re.compile(rf"[\x21-\x7e]{{1,{MESSAGE_ID_LENGTH_AT_MOST}}}")

FROM_SUBJECT = msgspec.Meta(extra={"stamped": "key"})
"""Marks a field that is set to the subject's key: `till_id: Annotated[TillId, FROM_SUBJECT] = TillId("")`."""

FROM_STREAM = msgspec.Meta(extra={"stamped": "at"})
"""Marks a field that is set to the time of storage: `at: Annotated[datetime, FROM_STREAM] = NEVER`."""

FROM_ACTOR = msgspec.Meta(extra={"stamped": "actor"})
"""Marks a field that is set to the header `Acting-For`: `acting_for: Annotated[str, FROM_ACTOR] = ""`."""

TOLD = msgspec.Meta(extra={"told": True})
"""Marks a field that one line of a timeline shows: `reason: Annotated[Reason, TOLD]`."""

NEVER = datetime.min.replace(tzinfo=UTC)


class Subject(NamedTuple):
    """The parts of a stored subject."""

    kind: str
    context: str
    type: str
    partition: int
    key: Key


class MalformedKeyError(ValueError):
    """The text cannot be a key in a subject."""


class MalformedSubjectError(ValueError):
    """The subject has none of the stored forms."""


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
    """Return the id of a client's command; raise ValueError when it has the form of an id that Chorus gives.

    Chorus gives ids such as `till/till-t-42@1`, or `COMMANDS@…/7` to a message without one. A context keeps all
    ids in one inbox, so a command under the id of a future event would suppress that event.
    """
    if "/" in message_id and "@" in message_id:
        raise ValueError(f"{message_id[:80]!r} has both / and @, like the ids that Chorus gives; use another id")
    return check_message_id(message_id)


def check_actor(actor: str) -> str:
    """Return in whose name a command or a query is sent; raise ValueError when the text is too long."""
    if len(actor) > ACTOR_LENGTH_AT_MOST:
        raise ValueError(f"{len(actor)} characters are more than {ACTOR_LENGTH_AT_MOST}")
    return actor


def command_subject(context: str, command: str, key: str) -> str:
    """The subject of a command; raises MalformedKeyError."""
    return f"cmd.{context}.{command}.{check_key(key)}"


def event_subject(context: str, event: str, key: str) -> str:
    """The subject of an event; raises MalformedKeyError."""
    return f"evt.{context}.{event}.{check_key(key)}"


def timer_subject(context: str, timer: str, key: str) -> str:
    """The subject of a message that sets a timer; raises MalformedKeyError."""
    return f"timer.{context}.{timer}.{check_key(key)}"


def due_subject(context: str, timer: str, key: str) -> str:
    """The subject of a timer that is due; raises MalformedKeyError."""
    return f"due.{context}.{timer}.{check_key(key)}"


def dead_letter_subject(context: str, message_type: str, key: str) -> str:
    """The subject of a dead letter; raises MalformedKeyError."""
    return f"dlq.{context}.{message_type}.{check_key(key)}"


def filter_subject(kind: Kind, context: str, message_type: str, partition: int) -> str:
    """The filter of a consumer: one type in one partition, with any key."""
    return f"{kind}.{context}.{message_type}.{partition}.*"


def parse_subject(subject: str) -> Subject:
    """Parse a stored subject; raises MalformedSubjectError, or MalformedKeyError when only its key is malformed."""
    tokens = subject.split(".", 4)
    if len(tokens) == 4:  # The server inserts no partition into a subject with the key `*` or `>`.
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
    """The partition that the server's subject transform gives a key: 32-bit FNV-1a modulo `partitions`."""
    digest = 0x811C9DC5
    for byte in key.encode():
        digest = ((digest ^ byte) * 0x01000193) & 0xFFFFFFFF
    return digest % partitions


def aggregate_id(name: str, key: str, part: str | int | None = None) -> str:
    """The id of an aggregate within its context: `till-t-42`, or `drawer-t-42.d-1` with the part `d-1`.

    A part other than 1 to 64 of `A-Z a-z 0-9 _ -` is replaced by `~` and 32 hex digits of its BLAKE2b hash. No key has
    a `.` or a `~`, so two aggregates never share an id.
    """
    if part is None:
        return f"{name}-{key}"
    spelled = str(part)
    if _PART.fullmatch(spelled) is None:
        spelled = f"~{content_hash(spelled.encode(errors='surrogatepass')).hex()}"
    return f"{name}-{key}.{spelled}"


def aggregate_name(identity: str) -> str:
    """The name in an aggregate's id: `till` of `till-t-42`."""
    return identity.partition("-")[0]


def event_id(context: str, aggregate: str, version: int) -> MessageId:
    """The id of an event. It is deterministic: a repeated decision gives the same id."""
    return MessageId(f"{context}/{aggregate}@{version}")


def longest_id(context: str, aggregate: str, *, has_parts: bool, timer: str = "") -> MessageId:
    """The longest id of an event of an aggregate of this name, or of the timer that it arms."""
    identity = event_id(context, aggregate_id(aggregate, LONGEST_KEY, LONGEST_KEY if has_parts else None), LAST_VERSION)
    return in_edition(f"{identity}/{timer}" if timer else identity, LAST_EDITION)


def is_event_id(message_id: str) -> bool:
    """Whether the id has the form of `event_id`, in any edition."""
    return _EVENT_ID.fullmatch(split_edition(message_id)[0]) is not None


def split_edition(message_id: str) -> tuple[str, int]:
    """An id without its edition, and the edition: `till/till-t-1@1.2` gives `till/till-t-1@1` and 2.

    An id without an edition is the first edition.
    """
    found = _EDITION.fullmatch(message_id)
    return (message_id, 1) if found is None else (found[1], int(found[2]))


def next_edition(message_id: str) -> MessageId:
    """The id under which a context publishes the same fact after an operator has declared this id a stranger's.

    A later edition is the same version of the same aggregate; the highest edition in EVENTS counts.
    """
    return in_edition(message_id, split_edition(message_id)[1] + 1)


def in_edition(message_id: str, edition: int) -> MessageId:
    """The id in another edition."""
    first, _ = split_edition(message_id)
    return MessageId(first if edition == 1 else f"{first}.{edition}")


def fallback_id(stream: str, sequence: int, at: datetime) -> MessageId:
    """Fallback id of a message without one: stream, stored time and sequence.

    The time is part of it because a stream that lost its end, such as an older copy, uses the same sequences again.
    """
    return MessageId(f"{stream}@{rfc3339(at)}/{sequence}")


def content_hash(body: bytes) -> bytes:
    """A hash of 16 bytes, to compare the contents of two messages under one id."""
    return hashlib.blake2b(body, digest_size=16).digest()


def rfc3339(moment: datetime) -> str:
    """A time in RFC 3339, UTC and microseconds: `2026-11-21T09:00:00.000000Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
