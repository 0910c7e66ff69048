"""The state of one key in one context: the answer to `nats req api.CONTEXT.about '{"key": "k-42"}'`.

The process that owns the key's partition answers, and no other. So a context with several processes gives one answer.
A context without a live owner gives none, which tells the operator that it is down.
"""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

ITEMS_AT_MOST = 20
"""An answer has at most this many items of each kind; `more` names the kinds that have more."""

STATE_BYTES_AT_MOST = 32 * 1024
"""A larger state is left out."""


class AskAbout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request."""

    key: Annotated[str, Meta(min_length=1, max_length=64)]


class AggregateNow(Struct, frozen=True, kw_only=True):
    """An aggregate of the key, and the event that led to its version. `state` is null when it is too large."""

    id: str
    version: int
    state: msgspec.Raw
    last_event: str
    at: str


class OpenCall(Struct, frozen=True, kw_only=True):
    """A call to the outside whose outcome is unknown.

    `asks` is the service's subject, empty before the first attempt and for a call that is no NATS request. `behind` is
    the id of the earlier call of this key that has to end first, or empty. `next_try_at` is empty while the call is
    under way.
    """

    event: str
    id: str
    since: str
    asks: str
    attempts: int
    last_error: str
    next_try_at: str
    behind: str


class ArmedDeadline(Struct, frozen=True, kw_only=True):
    """A timer that has not been decided. `due_at` may be in the past: the context has not come to it yet.

    `is_idle` says that nothing would happen if it were due now: the aggregate is past it.
    """

    timer: str
    id: str
    due_at: str
    is_idle: bool = False


class ParkedMessage(Struct, frozen=True, kw_only=True):
    """A parked message. `reason` is empty when it only waits behind an earlier one; `verdict` is an operator's."""

    number: str
    id: str
    subject: str
    stored_at: str
    reason: str
    verdict: str


class UnpublishedEvent(Struct, frozen=True, kw_only=True):
    """A journal row that is not in its stream. `refused` is why the broker refuses it for good, or empty."""

    number: str
    id: str
    type: str
    since: str
    refused: str


class ReadingPosition(Struct, frozen=True, kw_only=True):
    """How far the context has read a stream in the key's partition.

    `behind` counts the messages that it has not decided, and is null when the broker does not answer.
    """

    stream: str
    sequence: int
    behind: int | None


class RaisedAlarm(Struct, frozen=True, kw_only=True):
    """A condition that keeps the process from its work, with its remedy."""

    kind: str
    subject: str
    reason: str
    remedy: str
    since: str


class About(Struct, frozen=True, kw_only=True):
    """The answer. `unreadable` says why the database could not be read: then only calls and positions are known."""

    context: str
    key: str
    process: str
    partition: int
    at: str
    aggregates: tuple[AggregateNow, ...] = ()
    calls: tuple[OpenCall, ...] = ()
    deadlines: tuple[ArmedDeadline, ...] = ()
    parked: tuple[ParkedMessage, ...] = ()
    unpublished: tuple[UnpublishedEvent, ...] = ()
    positions: tuple[ReadingPosition, ...] = ()
    alarms: tuple[RaisedAlarm, ...] = ()
    more: tuple[str, ...] = ()
    unreadable: str = ""
