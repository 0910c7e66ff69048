"""What the engine asks of a context's database: one transaction per batch, and one statement per call.

SQLite is the adapter. SQL and locking stay behind this port. `work` is an ordinary function, because it runs where the
adapter chooses: SQLite runs it in a thread of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from shared.ports.rows import (
    EffectRow,
    JournalRow,
    Move,
    NumberedRow,
    Position,
)
from shared.ports.trouble_rows import ParkedMessages, PublishedRows, RefusedRows

T = TypeVar("T")


class DatabaseError(Exception):
    """The database cannot be used; the text names the file and the remedy. Waiting does not help."""


class DatabaseBusyError(Exception):
    """The database cannot be used now: it is locked, or its disk is full. Trying again may help."""


class FencedError(Exception):
    """Another process has moved the position meanwhile: the whole batch is void."""


class Transaction(Protocol):
    """The queries of one transaction; each is one statement however many rows it touches."""

    @property
    def parked(self) -> ParkedMessages:
        """The queries on parked messages."""
        ...

    @property
    def published(self) -> PublishedRows:
        """The queries on what was published."""
        ...

    @property
    def refused(self) -> RefusedRows:
        """The queries on refused rows and on messages of strangers."""
        ...

    def known(self, message_ids: Iterable[str]) -> dict[str, bytes]:
        """The content hashes of those messages that were decided before."""
        ...

    def snapshots(self, ids: Iterable[str]) -> list[tuple[str, int, str]]:
        """(id, version, state) of those aggregates that exist."""
        ...

    def move(self, moves: Iterable[Move]) -> None:
        """Advance positions by compare-and-set; raises FencedError when any stands elsewhere."""
        ...

    def remember(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Put (message id, content hash) into the inbox."""
        ...

    def append(self, rows: Sequence[JournalRow]) -> list[NumberedRow]:
        """Append to the journal; the rows with their numbers."""
        ...

    def last_number(self) -> int:
        """The number of the journal's last row; 0 when it is empty."""
        ...

    def snapshot(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Write (id, version, state) of aggregates."""
        ...

    def drop_snapshots(self) -> None:
        """Delete every snapshot."""
        ...

    def facts(self) -> Iterator[JournalRow]:
        """Every event: those of one aggregate after those of another, each in the order of its versions."""
        ...

    def facts_of(self, aggregate: str, *, up_to: int) -> Iterator[JournalRow]:
        """The events of one aggregate up to a version."""
        ...

    def last_version(self, aggregate: str) -> int:
        """The version of the aggregate's last event; 0 when there is none."""
        ...

    def ask(self, rows: Sequence[tuple[int, str, str, int]]) -> None:
        """Record effects to run: (journal number, event id, key, partition)."""
        ...

    def still_asked(self, event_ids: Sequence[str]) -> set[str]:
        """Which of these effects have no outcome yet."""
        ...

    def settle(self, event_ids: Sequence[str]) -> None:
        """Take effects off the list."""
        ...

    def note_attempts(self, attempts: Sequence[tuple[int, str, str]]) -> None:
        """Record (attempts, last error, event id) of effects whose outcome is still unknown."""
        ...

    def mark_published(self, marks: Sequence[tuple[int, int]]) -> None:
        """Record (journal number, stream sequence) of published rows; what was refused of them is so no more."""
        ...

    def positions(self) -> dict[tuple[str, int], Position]:
        """Every position by (stream, partition)."""
        ...

    def unpublished(self, partitions: Iterable[int], *, after: int = 0, before: int = 2**62) -> list[NumberedRow]:
        """Rows of these partitions that have no PubAck yet, in journal order, with `after < n < before`."""
        ...

    def asked(self, partitions: Iterable[int], *, after: int = 0, limit: int) -> list[EffectRow]:
        """Effects of these partitions without an outcome, oldest first, asked by rows after `after`."""
        ...

    def forget_positions(self, stream: str) -> None:
        """Begin this stream anew; the inbox keeps what was decided."""
        ...

    def meta(self, key: str) -> str | None:
        """A remembered fact about this database."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Remember a fact about this database."""
        ...

    def begun(self, aggregates: Iterable[str]) -> set[str]:
        """Which of these aggregates have an event."""
        ...


class Store(Protocol):
    """The database of one context; `transact` runs one function in one transaction."""

    @property
    def queues(self) -> bool:
        """Whether a transaction waits for another process of the context to finish its own."""
        ...

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction; raises DatabaseBusyError when trying again may help."""
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads."""
        ...

    async def close(self) -> None:
        """Close the database."""
        ...
