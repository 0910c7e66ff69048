"""The headers with which a message asks the server for a TTL or a schedule (ADR-43, ADR-51)."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.config.units import nanoseconds, parse_duration
from shared.ports.broker import BrokerRefusedError
from shared.ports.clock import since_1970_ns
from shared.wire.messages import SCHEDULE, SCHEDULE_TARGET, SCHEDULE_TTL

TTL = "Nats-TTL"
SCHEDULER = "Nats-Scheduler"
NEXT = "Nats-Schedule-Next"

_AT = "@at "
_SHORTEST = timedelta(seconds=1)


class Schedule(NamedTuple):
    """When to publish to which subject, and the TTL of that publication."""

    due_ns: int
    target: str
    ttl: str | None


def parse_ttl_ns(headers: Mapping[str, str], *, allowed: bool) -> int | None:
    """The TTL of the message, if it has one; raises BrokerRefusedError."""
    text = headers.get(TTL)
    if text is None:
        return None
    if not allowed:
        raise BrokerRefusedError(10166, "per-message TTL is disabled")
    return _duration_ns(text, BrokerRefusedError(10165, "invalid per-message TTL"))


def parse_schedule(
    subject: str, headers: Mapping[str, str], *, allowed: bool, accepts: Callable[[str], bool]
) -> Schedule | None:
    """The schedule in the headers, if there is one; raises BrokerRefusedError."""
    text = headers.get(SCHEDULE)
    if text is None:
        return None
    if not allowed:
        raise BrokerRefusedError(10188, "message schedules is disabled")
    try:
        if not text.startswith(_AT):
            raise ValueError(text)
        due = datetime.fromisoformat(text.removeprefix(_AT)).astimezone(UTC)
    except ValueError as error:
        raise BrokerRefusedError(10189, "message schedules pattern is invalid") from error
    target = headers.get(SCHEDULE_TARGET, "")
    if target == subject or not accepts(target):
        raise BrokerRefusedError(10190, "message schedules target is invalid")
    ttl = headers.get(SCHEDULE_TTL)
    if ttl is not None:
        _duration_ns(ttl, BrokerRefusedError(10191, "message schedules invalid per-message TTL"))
    return Schedule(since_1970_ns(due), target, ttl)


def _duration_ns(text: str, refusal: BrokerRefusedError) -> int | None:
    if text == "never":
        return None
    try:
        duration = timedelta(seconds=int(text)) if text.isdecimal() else parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise refusal from error
    if duration < _SHORTEST:
        raise refusal
    return nanoseconds(duration)
