"""The ports of forwarding: the events that wait in the database of a group, and the endpoint that they are sent to."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class ForwardRow(NamedTuple):
    """An event to forward; `n` is 0 until the database has it."""

    n: int
    key: str
    event_id: str
    sequence: int
    context: str
    type: str
    at: str
    headers: Mapping[str, str]
    body: bytes


class ParkedForward(NamedTuple):
    """An event that could not be delivered. The `behind` later events of its key wait for it.

    `place` is the group, `since` the time at which it was parked, and `verdict` what an operator has decided since.
    """

    place: str
    row: ForwardRow
    reason: str
    since: str
    verdict: str
    behind: int


class ForwardRows(Protocol):
    """The events to forward, within a transaction. An event that is parked keeps the later ones of its key."""

    def add(self, rows: Sequence[ForwardRow]) -> None:
        """Append events, in the order of the stream."""
        ...

    def delete(self, numbers: Sequence[int]) -> None:
        """Delete events that were delivered."""
        ...

    def park(self, reasons: Sequence[tuple[int, str]], *, since: str) -> None:
        """Park (number, reason) of events that cannot be delivered."""
        ...

    def release(self) -> list[int]:
        """Carry out the verdicts of operators; returns the number of the first event of each key that is free now."""
        ...

    def waiting(self, after: int, limit: int) -> list[ForwardRow]:
        """The first events behind a number whose keys are free."""
        ...

    def parked(self) -> int:
        """The number of events that are parked."""
        ...


class Reply(NamedTuple):
    """The answer of an endpoint; `retry_after_s` is when it wants to be asked again, if it says so."""

    status: int
    retry_after_s: float | None = None


class NoReplyError(Exception):
    """The endpoint gave no answer: it may or may not have received the event."""


class Sender(Protocol):
    """Sends to one endpoint."""

    async def send(self, headers: Mapping[str, str], body: bytes) -> Reply:
        """Post one event; raises NoReplyError."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
