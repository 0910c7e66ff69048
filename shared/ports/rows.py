"""The rows of a context's database as values. Headers are mappings here; how a column spells them is the adapter's."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.wire.messages import MSG_ID, TIMER_ID, next_edition
from shared.wire.streams import stream_of

SNAPSHOTS: Final = "snapshots"
"""The `meta` key under which the shape of the snapshots is stored while all of them exist.

The database itself deletes the entry when a snapshot is deleted or changed by hand.
"""

HEARD_FROM_BEGINNING: Final = "heard from the beginning"
"""The `meta` key under which the events stand that were heard from the beginning, as `context.Event`."""


class JournalRow(NamedTuple):
    """One outgoing message; `aggregate` and `version` say which event of which aggregate it is."""

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

    @property
    def stream(self) -> str:
        """The stream that it is published to."""
        return stream_of(self.subject)

    def next_edition(self) -> "JournalRow":
        """The same fact under the next edition of its id.

        Aggregate and version stay, so no state changes. An effect that the row asks for keeps its idempotency key, and
        a timer that the row arms keeps its id: both name the event without an edition.
        """
        identity = next_edition(self.event_id)
        changed = {name: identity for name in (MSG_ID, TIMER_ID) if name in self.headers}
        return self._replace(event_id=identity, headers={**self.headers, **changed})


class NumberedRow(NamedTuple):
    """A journal row with its number in the journal."""

    n: int
    row: JournalRow


class EffectRow(NamedTuple):
    """An effect without an outcome; `n` is the journal row of the event that asks for it."""

    n: int
    event_id: str
    key: str
    partition: int
    attempts: int
    type: str
    headers: Mapping[str, str]
    body: bytes


class AnswerRow(NamedTuple):
    """The answer to a request under its idempotency key; `request_hash` tells another request under the same key."""

    idempotency_key: str
    operation: str
    request_hash: bytes
    answer: bytes


class InputRow(NamedTuple):
    """A command, a request, or the outcome of a call, as it was decided; the journal then ended with row `after_n`.

    `type` is the name of the command, and `body` its JSON; that of a client's command as the client sent it.
    """

    kind: str
    id: str
    type: str
    key: str
    at_ns: int
    after_n: int
    body: bytes


class ParkedRow(NamedTuple):
    """A parked message; `reason` is empty when it did not fail itself and only waits behind an earlier one."""

    key: str
    partition: int
    stream: str
    seq: int
    at_ns: int
    message_id: str
    subject: str
    headers: Mapping[str, str]
    body: bytes
    reason: str


class RefusedRow(NamedTuple):
    """A journal row that the broker refuses for good; `seq` is where another message has its id, or 0."""

    n: int
    key: str
    partition: int
    reason: str
    seq: int
    since: str


class StrangerRow(NamedTuple):
    """A message under an id of this context that this context did not publish; `seq` 0 and `subject` "" are unknown."""

    message_id: str
    seq: int
    subject: str
    reason: str
    at: str
    who: str
    why: str


class ParkedVerdict(NamedTuple):
    """A parked message on which an operator (`who`) has ruled: retry it, or `skip` it because of `why`."""

    id: int
    row: ParkedRow
    skip: bool
    who: str
    why: str


class SkippedRow(NamedTuple):
    """A parked message that an operator skipped: `reason` is why it was parked, `why` is the operator's reason."""

    key: str
    message_id: str
    subject: str
    reason: str
    who: str
    why: str
    at: str


class Position(NamedTuple):
    """The last message of a partition of a stream that a context has decided."""

    seq: int
    message_id: str


class Move(NamedTuple):
    """A compare-and-set of one position."""

    stream: str
    partition: int
    expected: int
    seq: int
    message_id: str


class Proof(NamedTuple):
    """An event as its own database has it: the subject without a partition, and the body."""

    subject: str
    body: bytes
