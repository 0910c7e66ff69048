"""The kinds of messages and events that wait for an operator, and how an operator names them."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import ClassVar, TypeAlias, TypeVar

from msgspec import Struct

from shared.wire.streams import EVENTS, stream_of


class _Waiting(Struct, frozen=True, kw_only=True):
    """The fields that parked messages and refused rows share. `row` is the number in the table of the database."""

    row: int
    context: str
    key: str
    message_id: str
    subject: str
    sequence: int
    at: datetime
    headers: str
    body: str
    reason: str
    verdict: str
    prefix: ClassVar[str] = ""
    """Before the row's number in commands."""

    @property
    def number(self) -> str:
        """Its name in commands, such as `till/1` for a parked message or `till/r7` for a refused row."""
        return f"{self.context}/{self.prefix}{self.row}"

    @property
    def cause(self) -> str:
        """Why it waits: the reason as the broker or the endpoint gives it."""
        return self.reason


class Parked(_Waiting, frozen=True, kw_only=True):
    """A parked message, stored in `stream` at `sequence`. `reason` is empty when it waits behind another of its key."""

    stream: str

    @property
    def cause(self) -> str:
        """The last line of the traceback, which names the error."""
        lines = self.reason.strip().splitlines()
        return lines[-1] if lines else ""

    @property
    def remedy(self) -> str:
        """The commands with which an operator resolves it."""
        return f"fix the cause, then chorus parked retry {self.key}; or chorus parked skip {self.number} --why '…'"


class Refused(_Waiting, frozen=True, kw_only=True):
    """A journal row that the broker refuses for good. The `behind` later rows of its key wait.

    `sequence` is where another message has its id, or 0.
    """

    prefix: ClassVar[str] = "r"
    behind: int

    @property
    def stream(self) -> str:
        """The stream that refuses it."""
        return stream_of(self.subject)

    @property
    def remedy(self) -> str:
        """The commands with which an operator resolves it."""
        if not self.sequence:
            return f"fix the cause, then chorus parked retry {self.number}"
        return (
            f"chorus parked void {self.number} --why '…' publishes the event under its next edition;"
            f" chorus parked retry {self.number} publishes it as it is, if the other message is gone from {self.stream}"
        )


class Undelivered(_Waiting, frozen=True, kw_only=True):
    """An event that a group of a read side cannot deliver to its endpoint; `context` is the group.

    The `behind` later events of its key wait.
    """

    behind: int

    @property
    def stream(self) -> str:
        """The stream that has it."""
        return EVENTS

    @property
    def remedy(self) -> str:
        """The commands with which an operator resolves it."""
        return f"mend the endpoint, then chorus parked retry {self.key}; or chorus parked skip {self.number} --why '…'"


Unresolved: TypeAlias = Parked | Refused | Undelivered
Item = TypeVar("Item", Parked, Refused, Undelivered, Unresolved)


class NothingFoundError(Exception):
    """No parked message or refused row has this name; the text repeats the name and lists the keys."""


def choose(unresolved: Sequence[Item], name: str) -> list[Item]:
    """All under a key, or the one with this message id or number; raises NothingFoundError when there is none.

    The name of a group means all the events that it cannot deliver: its endpoint may have refused everything.
    """
    chosen = [one for one in unresolved if name in (one.key, one.message_id, one.number) or _is_of(name, one)]
    if not chosen:
        keys = sorted({one.key for one in unresolved})
        raise NothingFoundError(f"nothing is parked as {name!r}; parked keys: {', '.join(keys) or 'none'}")
    return chosen


def _is_of(name: str, one: Unresolved) -> bool:
    return isinstance(one, Undelivered) and name == one.context


def why_no_skip(one: Unresolved, unresolved: Iterable[Unresolved]) -> str:
    """Why a message that waits behind another, or an event that the broker refuses, cannot be skipped."""
    if isinstance(one, Refused):
        return f"it is an event that the broker refuses; {one.remedy}"
    ahead = [
        other.number
        for other in unresolved
        if isinstance(other, Parked) and other.reason and (other.context, other.key) == (one.context, one.key)
    ]
    return f"it waits behind {', '.join(ahead)}; retry or skip that first"
