"""What a message's headers order the server to do: forget it after a while, or publish it somewhere when it is time."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.config.units import nanoseconds, parse_duration
from shared.ports.broker import BrokerRefusedError
from shared.wire.messages import SCHEDULE, SCHEDULE_TARGET, SCHEDULE_TTL

TTL = "Nats-TTL"
SCHEDULER = "Nats-Scheduler"
NEXT = "Nats-Schedule-Next"

_AT = "@at "
_SHORTEST = timedelta(seconds=1)


class Schedule(NamedTuple):
    """When to publish to which subject, and how long that is kept."""

    due_ns: int
    target: str
    ttl: str | None


def life_ns(headers: Mapping[str, str], *, allowed: bool) -> int | None:
    """How long the message is kept, if its headers say so; raises BrokerRefusedError."""
    said = headers.get(TTL)
    if said is None:
        return None
    if not allowed:
        raise BrokerRefusedError(10166, "per-message TTL is disabled")
    return _life_ns(said, BrokerRefusedError(10165, "invalid per-message TTL"))


def schedule(
    subject: str, headers: Mapping[str, str], *, allowed: bool, takes: Callable[[str], bool]
) -> Schedule | None:
    """The schedule that the headers ask for, if they do; raises BrokerRefusedError."""
    said = headers.get(SCHEDULE)
    if said is None:
        return None
    if not allowed:
        raise BrokerRefusedError(10188, "message schedules is disabled")
    try:
        if not said.startswith(_AT):
            raise ValueError(said)
        due = datetime.fromisoformat(said.removeprefix(_AT)).astimezone(UTC)
    except ValueError as error:
        raise BrokerRefusedError(10189, "message schedules pattern is invalid") from error
    target = headers.get(SCHEDULE_TARGET, "")
    if target == subject or not takes(target):
        raise BrokerRefusedError(10190, "message schedules target is invalid")
    ttl = headers.get(SCHEDULE_TTL)
    if ttl is not None:
        _life_ns(ttl, BrokerRefusedError(10191, "message schedules invalid per-message TTL"))
    return Schedule(nanoseconds(due - datetime.fromtimestamp(0, UTC)), target, ttl)


def _life_ns(said: str, refusal: BrokerRefusedError) -> int | None:
    if said == "never":
        return None
    try:
        life = timedelta(seconds=int(said)) if said.isdecimal() else parse_duration(said)
    except (ValueError, OverflowError) as error:
        raise refusal from error
    if life < _SHORTEST:
        raise refusal
    return nanoseconds(life)
