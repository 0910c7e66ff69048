"""Reads the headers of a message: its id, the saga that it belongs to, and its causation depth."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from shared.wire.messages import (
    ACTING_FOR,
    CAUSATION_DEPTH,
    CORRELATION_ID,
    MSG_ID,
    TIMER_ID,
    check_actor,
    check_key,
)
from shared.wire.streams import RELAYED, TIMERS

T = TypeVar("T")


class MalformedHeaderError(ValueError):
    """A header has an impossible value; `path` is the header's name."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def id_in(stream: str, headers: Mapping[str, str]) -> str | None:
    """The id that a message gives itself. The server removes a timer's `Nats-Msg-Id` when the timer fires."""
    return headers.get(TIMER_ID) if stream == TIMERS else headers.get(MSG_ID)


def correlation_in(headers: Mapping[str, str]) -> str | None:
    """The saga that a message belongs to, or None; raises MalformedHeaderError when the value cannot be a key."""
    given = headers.get(CORRELATION_ID)
    return checked(CORRELATION_ID, check_key, given) if given else None


def depth_in(headers: Mapping[str, str], at_most: int) -> int:
    """The length of the chain of causes behind a message; raises MalformedHeaderError unless it is below `at_most`."""
    return checked(CAUSATION_DEPTH, lambda given: _depth(given, at_most), headers.get(CAUSATION_DEPTH, "0"))


def actor_in(headers: Mapping[str, str]) -> str:
    """The actor for whom a command is sent, or empty; raises MalformedHeaderError when the header cannot be one."""
    return checked(ACTING_FOR, check_actor, headers.get(ACTING_FOR, ""))


def check_sent(headers: Mapping[str, str]) -> None:
    """Raise MalformedHeaderError for a command that no client has sent, but the server has copied into the stream.

    A user who may only read COMMANDS could have a command of another client stored again under another key.
    """
    if RELAYED in headers:
        raise MalformedHeaderError(RELAYED, "no client sent it: the server delivered a stored message here")


def checked(header: str, check: Callable[[str], T], value: str) -> T:
    """The result of `check`; turns its ValueError into a MalformedHeaderError."""
    try:
        return check(value)
    except ValueError as error:
        raise MalformedHeaderError(header, str(error)) from error


def _depth(given: str, at_most: int) -> int:
    if not given.isdecimal() or len(given) > 4:
        raise ValueError(f"{given[:40]!r} is not a number below {at_most}")
    if int(given) >= at_most:
        raise ValueError(f"causation depth {given} reaches the limit {at_most}; look for a cycle of reactions")
    return int(given)
