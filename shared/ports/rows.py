"""The rows of a context's database as values."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

SNAPSHOTS: Final = "snapshots"
"""The fact in `meta` that every snapshot is there, and in which shape; triggers forget it when one is taken away."""


class JournalRow(NamedTuple):
    """One message of the outbox; `aggregate` and `version` say which fact of which aggregate it is."""

    event_id: str
    aggregate: str
    version: int
    subject: str
    type: str
    headers: Mapping[str, str]
    body: bytes
    partition: int

    @property
    def key(self) -> str:
        """The key of its subject."""
        return self.subject.rsplit(".", 1)[1]


class NumberedRow(NamedTuple):
    """A journal row with its place in the journal."""

    n: int
    row: JournalRow


class EffectRow(NamedTuple):
    """An effect that is asked for and not answered yet; `n` is the journal row that asks."""

    n: int
    event_id: str
    key: str
    partition: int
    attempts: int
    type: str
    headers: Mapping[str, str]
    body: bytes


class ParkedRow(NamedTuple):
    """A message that waits because its key is parked; `reason` is empty for those that only wait behind another."""

    key: str
    partition: int
    stream: str
    seq: int
    at_ns: int
    message_id: str
    subject: str
    headers: str
    body: bytes
    reason: str


class RefusedRow(NamedTuple):
    """A journal row that the broker refuses for good; `seq` is where another message stands under its id, or 0."""

    n: int
    key: str
    partition: int
    reason: str
    seq: int
    since: str


class StrangerRow(NamedTuple):
    """A message under an id of this context that is not this context's; `seq` 0 and `subject` "" are unknown."""

    message_id: str
    seq: int
    subject: str
    reason: str
    at: str
    who: str
    why: str


class Waiting(NamedTuple):
    """A parked message with an operator's verdict: try it again, or (`skip`) leave it out; `who` says so, and `why`."""

    id: int
    row: ParkedRow
    skip: bool
    who: str
    why: str


class SkippedRow(NamedTuple):
    """A parked message that an operator left out: `reason` is why it was parked, `why` the operator's."""

    key: str
    message_id: str
    subject: str
    reason: str
    who: str
    why: str
    at: str


class Position(NamedTuple):
    """How far a context has decided one partition of one stream, and which message stood there."""

    seq: int
    message_id: str


class Move(NamedTuple):
    """A position's compare-and-set."""

    stream: str
    partition: int
    expected: int
    seq: int
    message_id: str


def headers_from_text(text: str) -> Mapping[str, str]:
    """Headers as a column holds them."""
    return _headers.decode(text)


_headers = msgspec.json.Decoder(dict[str, str])
