"""The form that a context gives to its events. A message in EVENTS without it is treated as a stranger's.

Any client that may publish under a context's subjects can write anything there. An event of a context has an id that
names the context and an aggregate of the subject's key, the headers of every event, and the partition of its key.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Final

from msgspec import Struct

from shared.engine.route.headers import MalformedHeaderError, checked, correlation_in, depth_in
from shared.wire.engine_events import ENGINE_EVENTS
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_DEPTH_AT_MOST,
    CAUSATION_HASH,
    CAUSATION_ID,
    CORRELATION_ID,
    MSG_ID,
    OCCURRED_AT,
    SCHEMA_VERSION,
    Subject,
    check_key,
    check_message_id,
    parse_subject,
    partition_of,
    timer_subject,
)
from shared.wire.streams import RELAYED

REQUIRED_HEADERS: Final = (CORRELATION_ID, CAUSATION_ID, CAUSATION_DEPTH, OCCURRED_AT, SCHEMA_VERSION)
"""The headers of every event, besides its id."""
NOBODY_SAID_IT: Final = "the server has delivered it here for a client that read it"
SCHEDULER: Final = "Nats-Scheduler"
"""The header with the subject of the timer that has fired; the server sets it."""

_VERSION = re.compile(r"(?P<aggregate>.+)@[1-9][0-9]{0,11}(\.[1-9][0-9]{0,8})?")
"""The part of an id after the context: an aggregate, its version, and the edition if a stranger had taken the id."""
HASH: Final = re.compile(r"[0-9a-f]{32}")
FAST_PATH_ID_LENGTH: Final = 160
"""A longer id is checked by `check_event`."""
ENGINE_EVENT_NAMES: Final = frozenset(event.__name__ for event in ENGINE_EVENTS)
"""The events whose ids contain a hash."""


class StrangerError(ValueError):
    """The message cannot be from the context that its subject names; the text says why."""


def check_event(subject: Subject, headers: Mapping[str, str], partitions: int | None) -> str:
    """Return the aggregate that the id names; raise ValueError unless the message has the form of an event.

    Without `partitions` the partition is not checked.
    """
    if RELAYED in headers:
        raise StrangerError(NOBODY_SAID_IT)
    if missing := [name for name in REQUIRED_HEADERS if not headers.get(name)]:
        raise StrangerError(f"it has no header {', '.join(missing)}")
    if partitions is not None and subject.partition != partition_of(subject.key, partitions):
        raise StrangerError(f"its key {subject.key} does not belong to partition {subject.partition}")
    correlation_in(headers)
    depth_in(headers, CAUSATION_DEPTH_AT_MOST + 1)
    checked(OCCURRED_AT, datetime.fromisoformat, headers[OCCURRED_AT])
    checked(SCHEMA_VERSION, int, headers[SCHEMA_VERSION])
    if CAUSATION_HASH in headers and HASH.fullmatch(headers[CAUSATION_HASH]) is None:
        raise MalformedHeaderError(CAUSATION_HASH, "it is not a content hash")
    context, _, rest = checked(MSG_ID, check_message_id, headers.get(MSG_ID, "")).partition("/")
    found = _VERSION.fullmatch(rest)
    if context != subject.context or found is None:
        raise StrangerError(f"its id is not one that {subject.context} gives")
    return found["aggregate"]


def why_strange(subject: str, headers: Mapping[str, str], partitions: int | None = None) -> str:
    """Why a message in EVENTS cannot be from the context that its subject names; empty when it can."""
    try:
        check_event(parse_subject(subject), headers, partitions)
    except ValueError as error:  # A malformed subject, key or header is one too.
        return str(error)
    return ""


def has_fired(subject: str, headers: Mapping[str, str]) -> bool:
    """Whether the server has published a message under `due` for the timer of this context, type and key."""
    try:
        _check_timer(parse_subject(subject), headers)
    except ValueError:
        return False
    return True


class Form:
    """The form of the messages that one context hears: events of any context, and its own timers.

    `views` are the events as the context reads them. The first field of a view is the key, as `shared/mistakes` checks.
    """

    def __init__(self, partitions: int, views: Iterable[type[Struct]]) -> None:
        self._partitions = partitions
        self._key_of = {
            view: attrgetter(view.__struct_fields__[0])
            for view in views
            if view.__name__ not in ENGINE_EVENT_NAMES and view.__struct_fields__
        }

    def check(self, subject: Subject, headers: Mapping[str, str]) -> None:
        """Raise StrangerError when the context that the subject names cannot have published this."""
        if subject.kind == "due":
            _check_timer(subject, headers)
            return
        if _is_plain(subject, headers, self._partitions):
            return
        try:
            aggregate = check_event(subject, headers, self._partitions)
        except ValueError as error:
            raise StrangerError(str(error)) from error
        if subject.type not in ENGINE_EVENT_NAMES and not _goes_by(aggregate, subject.key):
            raise StrangerError(f"its id names {aggregate[:80]!r}, its subject {subject.key!r}")

    def check_key(self, event: Struct, key: str) -> None:
        """Raise StrangerError when the body names another key than the subject."""
        key_of = self._key_of.get(type(event))
        if key_of is not None and key_of(event) != key:
            raise StrangerError(f"its body names {str(key_of(event))[:80]!r}, its subject {key!r}")


def _is_plain(subject: Subject, headers: Mapping[str, str], partitions: int) -> bool:
    """Fast path for the usual form; takes a third of the time of `check_event`.

    False is inconclusive: the aggregate may have parts, the id a later edition.
    """
    try:
        context, _, rest = headers[MSG_ID].partition("/")
        aggregate, _, version = rest.rpartition("@")
        depth = headers[CAUSATION_DEPTH]
        return (
            RELAYED not in headers
            and context == subject.context
            and aggregate.partition("-")[2] == subject.key
            and rest.isascii()
            and rest.isprintable()
            and " " not in aggregate
            and version.isdecimal()
            and version[0] != "0"
            and len(version) <= 12
            and len(rest) <= FAST_PATH_ID_LENGTH
            and subject.partition == partition_of(subject.key, partitions)
            and (headers[CORRELATION_ID] == subject.key or check_key(headers[CORRELATION_ID]) != "")
            and headers[CAUSATION_ID] != ""
            and (CAUSATION_HASH not in headers or HASH.fullmatch(headers[CAUSATION_HASH]) is not None)
            and depth.isdecimal()
            and len(depth) <= 2
            and int(depth) <= CAUSATION_DEPTH_AT_MOST
            and headers[SCHEMA_VERSION].isdecimal()
            and datetime.fromisoformat(headers[OCCURRED_AT]) is not None
        )
    except (KeyError, ValueError):
        return False


def _goes_by(aggregate: str, key: str) -> bool:
    """Whether an aggregate's id, `till-t-42` or `drawer-t-42.d-1`, names the key `t-42`."""
    _, _, rest = aggregate.partition("-")
    return rest == key or rest.startswith(f"{key}.")


def _check_timer(subject: Subject, headers: Mapping[str, str]) -> None:
    """Raise StrangerError unless the timer of this subject has fired: any timer may name any subject as its target."""
    if RELAYED in headers:
        raise StrangerError(NOBODY_SAID_IT)
    if headers.get(SCHEDULER) != timer_subject(subject.context, subject.type, subject.key):
        raise StrangerError(f"{subject.context} has set no timer for it")
