"""The port to contexts' databases for an operator's tools: answers that only read, and openers by a context's name.

A reader works beside running workers, without a lock that they could wait for. A method takes all that a caller wants
to know at once, so that an adapter with a network in between needs one round trip per answer.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec import Struct

from shared.ports.broker import Stored
from shared.ports.rows import JournalRow, ParkedRow, RefusedRow, StrangerRow
from shared.ports.store import Store


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


class Place(NamedTuple):
    """Where an event stands: its number in the journal, and its sequence in the stream or None before its PubAck."""

    n: int
    event_id: str
    sequence: int | None


class Waiting(Struct, frozen=True, kw_only=True):
    """The parked messages, refused keys and unpublished rows in a database; or why it is `unreadable` now."""

    parked: int = 0
    parked_keys: Sequence[str] = ()
    refused_keys: Sequence[str] = ()
    unpublished: int = 0
    unpublished_since: datetime | None = None
    unreadable: str = ""


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

    def places_of_rows(self, numbers: Iterable[int]) -> dict[int, Place]:
        """The places of these journal rows, by number."""
        ...

    def places_of_events(self, event_ids: Iterable[str]) -> dict[str, Place]:
        """The places of those of these events that the journal has, by id."""
        ...

    def last_versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        """The version of the last event of each of these aggregates that has one."""
        ...

    def events_of(self, aggregate: str, *, up_to: int) -> Iterator[JournalRow]:
        """The events of one aggregate up to a version."""
        ...

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        """The journal's bodies by event id; ids that the journal does not have are left out."""
        ...

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        """Those of these messages of EVENTS that neither the journal nor the table of strangers explains."""
        ...

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        """The event ids, in journal order, of rows that their stream should hold and that are not `there`."""
        ...


class Replacement(Protocol):
    """A database in the making that will replace the one of a context. No process has the old one open."""

    def declared_strangers(self) -> list[StrangerRow]:
        """The strangers that an operator declared in the old database; none when it is lost or broken."""
        ...

    async def open_new(self) -> Store:
        """Create the new database. Close it before `put_in_place`."""
        ...

    def put_in_place(self) -> Path | None:
        """Replace the old database by the new one, atomically; returns where the old one is now.

        Raises:
            DatabaseError: a process has created a database meanwhile.
        """
        ...


class Databases(Protocol):
    """The databases of a system on this machine, by context."""

    def place(self, context: str) -> str:
        """Where the database is or would be, for messages to an operator."""
        ...

    def exists(self, context: str) -> bool:
        """Whether there is one."""
        ...

    def is_lost(self, context: str) -> bool:
        """Whether it is missing where the databases of this machine are."""
        ...

    def reading(self, context: str) -> AbstractContextManager[StoreReader]:
        """Read the database of a context beside its workers.

        Raises:
            DatabaseError: it is missing, broken, of another context, or of another release.
            DatabaseBusyError: it is locked.
        """
        ...

    def waiting(self, name: str) -> Waiting:
        """Count what waits in the database of a context; nothing waits in a missing one or in that of a service."""
        ...

    async def open(self, context: str) -> Store:
        """Open the database of a context, or create it; raises as `reading`, but an older release is migrated."""
        ...

    def replacing(self, context: str) -> AbstractContextManager[Replacement]:
        """A replacement; the end of the block deletes it unless it was put in place.

        Raises:
            DatabaseError: a process has the database open, or another replacement is in progress.
        """
        ...
