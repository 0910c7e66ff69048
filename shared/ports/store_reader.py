"""The read-only port to a context's database, for an operator's tools and for a worker that answers questions.

A reader works while workers run, and holds no lock that they wait for. A method takes all parts of a question at once,
so that an adapter with a network in between needs one round trip per answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from msgspec import Struct

from shared.ports.broker import Stored
from shared.ports.rows import AnswerRow, JournalRow, ParkedRow, Proof, RefusedRow, StrangerRow
from shared.wire.waiting import Kind as WaitingKind


class KeptMessage(NamedTuple):
    """A parked message with its number in the database, and the operator's verdict if it has one."""

    number: int
    row: ParkedRow
    verdict: str


class KeptRow(NamedTuple):
    """A refused journal row, unpublished, with its verdict; `behind` later rows of its key wait for it."""

    refusal: RefusedRow
    row: JournalRow
    verdict: str
    behind: int


class Publication(NamedTuple):
    """The sequence that a journal row has in its stream, or None before its PubAck."""

    n: int
    event_id: str
    sequence: int | None


class Backlog(Struct, frozen=True, kw_only=True):
    """The parked messages, refused keys and unpublished rows in a database; or why it is `unreadable` now."""

    parked: int = 0
    parked_keys: Sequence[str] = ()
    refused_keys: Sequence[str] = ()
    unpublished: int = 0
    unpublished_since: datetime | None = None
    unreadable: str = ""


class AggregateRow(NamedTuple):
    """A snapshot, with the type and the Occurred-At of the event that led to it."""

    id: str
    version: int
    state: str
    last_event: str
    at: str


class UnpublishedRow(NamedTuple):
    """A journal row without a PubAck; `refused` is why the broker refuses it for good, or empty."""

    n: int
    row: JournalRow
    refused: str


class KeyRows(NamedTuple):
    """The rows about one key; each list has at most the `limit` of the question."""

    aggregates: Sequence[AggregateRow]
    timers: Sequence[JournalRow]
    """The newest timer of each kind and aggregate, unless it was decided."""
    parked: Sequence[KeptMessage]
    unpublished: Sequence[UnpublishedRow]


class AggregateQuery(NamedTuple):
    """Chooses aggregates of one kind: `status` and `fields` by the state, `fields` at any depth of it.

    `unless` leaves out those that have an event of one of these types. `before` is a time, RFC 3339, for the first
    event. `after` is the number `n` of the last aggregate of the page before, or 0.
    """

    name: str
    limit: int
    status: str = ""
    fields: Mapping[str, str] = MappingProxyType({})
    keys: Sequence[str] = ()
    unless: Sequence[str] = ()
    before: str = ""
    oldest_first: bool = False
    after: int = 0


class ListedRow(NamedTuple):
    """An aggregate: `n` is the journal number of its first event; `status` is empty where its state has none."""

    n: int
    id: str
    version: int
    status: str
    began_at: str
    last_event: str
    last_at: str


class WaitingRow(NamedTuple):
    """Something that waits, in the order of `number`. `since` is RFC 3339, or nanoseconds for a parked message.

    `text` is the last error or the reason.
    """

    number: int
    key: str
    id: str
    type: str
    since: str | int
    attempts: int
    text: str


class StoreReader(Protocol):
    """Answers from the database of one context. `numbers` are those of KeptMessage, or of journal rows."""

    def parked(self, numbers: Iterable[int] | None = None) -> list[KeptMessage]:
        """The parked messages with these numbers, or all of them, in the order in which they were parked."""
        ...

    def skipped(self, message_ids: Iterable[str]) -> set[str]:
        """Those of these messages that an operator skipped."""
        ...

    def refused(self, numbers: Iterable[int] | None = None) -> list[KeptRow]:
        """The refused and unpublished journal rows with these numbers, or all of them, in journal order."""
        ...

    def about(self, key: str, partition: int, names: Sequence[str], timers: Sequence[str], *, limit: int) -> KeyRows:
        """The rows about a key of this partition: aggregates of these names, and timers of these kinds."""
        ...

    def publications_of_rows(self, numbers: Iterable[int]) -> dict[int, Publication]:
        """The publications of these journal rows, by number."""
        ...

    def publications_of_events(self, event_ids: Iterable[str]) -> dict[str, Publication]:
        """The publications of those of these events that the journal has, by id."""
        ...

    def last_versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        """The version of the last event of each of these aggregates that has one."""
        ...

    def events_of(self, aggregate: str, *, up_to: int) -> Iterator[JournalRow]:
        """The events of one aggregate up to a version."""
        ...

    def answer(self, idempotency_key: str) -> AnswerRow | None:
        """The answer that a request under this key had, if it had one."""
        ...

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        """The journal's bodies by event id; ids that the journal does not have are left out."""
        ...

    def proofs(self, event_ids: Sequence[str]) -> dict[str, Proof]:
        """The journal's events by id; ids that the journal does not have are left out."""
        ...

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        """Those of these messages of EVENTS that neither the journal nor the table of strangers explains."""
        ...

    def strangers(self, limit: int) -> tuple[list[StrangerRow], int]:
        """The newest messages that were set aside and that no operator declared, and how many there are in all."""
        ...

    def declared_strangers(self) -> list[StrangerRow]:
        """The strangers that an operator declared."""
        ...

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        """The event ids, in journal order, of rows that their stream should hold and that are not `there`."""
        ...

    def list_aggregates(self, query: AggregateQuery) -> list[ListedRow]:
        """A page of the aggregates of a kind, in the order of their first events."""
        ...

    def statuses(self, name: str) -> dict[str, int]:
        """How many aggregates of a kind have each status."""
        ...

    def list_waiting(self, kind: WaitingKind, *, after: int, limit: int) -> list[WaitingRow]:
        """The things of one kind that wait, after a number."""
        ...

    def count_waiting(self) -> dict[WaitingKind, int]:
        """How many things of each kind wait."""
        ...
