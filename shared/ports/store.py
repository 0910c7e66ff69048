"""The engine's port to a context's database: one transaction per batch.

SQL and locking stay behind this port. A method takes all rows of a batch at once, so that an adapter with a network in
between needs one round trip per batch and table. `work` is an ordinary function, because the adapter chooses where to
run it: SQLite runs it in a thread of its own.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from shared.ports.rows import AnswerRow, EffectRow, InputRow, JournalRow, Move, NumberedRow, Position
from shared.ports.store_parts import ParkedMessages, PublishedRows, RefusedRows
from shared.ports.store_reader import StoreReader

T = TypeVar("T")


class DatabaseError(Exception):
    """The database cannot be used, and waiting does not help; the text names the file and the remedy."""


class DatabaseBusyError(Exception):
    """The database cannot be used now, because it is locked or its disk is full; a retry may help."""


class FencedError(Exception):
    """Another process has advanced a position of this batch: the whole batch is void."""


class Transaction(Protocol):
    """The queries of one transaction."""

    @property
    def parked(self) -> ParkedMessages:
        """The parked messages."""
        ...

    @property
    def published(self) -> PublishedRows:
        """The journal rows, compared with the streams."""
        ...

    @property
    def refused(self) -> RefusedRows:
        """The refused rows and the strangers."""
        ...

    def inbox_hashes(self, message_ids: Iterable[str]) -> dict[str, bytes]:
        """The content hashes of those messages that are in the inbox."""
        ...

    def snapshots(self, ids: Iterable[str]) -> list[tuple[str, int, str]]:
        """(id, version, state) of those aggregates that exist."""
        ...

    def advance_positions(self, moves: Sequence[Move]) -> None:
        """The fence: advance positions by compare-and-set; raises FencedError when one of them is elsewhere."""
        ...

    def add_to_inbox(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Add (message id, content hash) to the inbox."""
        ...

    def answers(self, idempotency_keys: Sequence[str]) -> dict[str, AnswerRow]:
        """The answers under those of these keys that have one."""
        ...

    def add_answers(self, rows: Sequence[AnswerRow]) -> None:
        """Add answers to requests."""
        ...

    def keeps_inputs(self) -> bool:
        """Whether the database has room for inputs."""
        ...

    def keep_inputs(self) -> None:
        """Make room for inputs, in a database that has none yet."""
        ...

    def add_inputs(self, rows: Sequence[InputRow]) -> None:
        """Keep inputs, unless one of the same kind and id is kept already."""
        ...

    def append(self, rows: Sequence[JournalRow]) -> list[NumberedRow]:
        """Append rows to the journal and return them with their numbers."""
        ...

    def last_number(self) -> int:
        """The number of the journal's last row; 0 when it is empty."""
        ...

    def save_snapshots(self, rows: Sequence[tuple[str, int, str]]) -> None:
        """Insert or replace (id, version, state) of aggregates."""
        ...

    def drop_snapshots(self) -> None:
        """Delete every snapshot."""
        ...

    def events(self) -> Iterator[JournalRow]:
        """All events by aggregate, those of each aggregate in the order of their versions."""
        ...

    def last_versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        """The version of the last event of each of these aggregates that has one."""
        ...

    def add_effects(self, rows: Sequence[tuple[int, str, str, int]]) -> None:
        """Add the effects that events ask for: (journal number, event id, key, partition)."""
        ...

    def still_open(self, event_ids: Sequence[str]) -> set[str]:
        """Those of these effects that have no outcome yet."""
        ...

    def close_effects(self, event_ids: Sequence[str]) -> None:
        """Delete effects whose outcome was decided."""
        ...

    def record_attempts(self, attempts: Sequence[tuple[int, str, str]]) -> None:
        """Record (attempts, last error, event id) of open effects."""
        ...

    def mark_published(self, marks: Sequence[tuple[int, int]]) -> None:
        """Record (journal number, stream sequence) of published rows, and delete their refusals."""
        ...

    def positions(self) -> dict[tuple[str, int], Position]:
        """Every position by (stream, partition)."""
        ...

    def unpublished(self, partitions: Iterable[int], *, after: int = 0, before: int = 2**62) -> list[NumberedRow]:
        """Rows of these partitions without a PubAck, in journal order, with `after < n < before`."""
        ...

    def open_effects(self, partitions: Iterable[int], *, after: int = 0, limit: int) -> list[EffectRow]:
        """Effects of these partitions without an outcome, oldest first, that rows after `after` ask for."""
        ...

    def closed_effects(self, kinds: Sequence[str], *, limit: int) -> list[tuple[str, str]]:
        """(event id, saga) of the newest effects with an outcome that events of these types asked for.

        The id has no edition, as the key under which the effect was called.
        """
        ...

    def delete_positions(self, stream: str) -> None:
        """Delete the positions of a stream, so that it is read from its beginning; the inbox stays."""
        ...

    def meta(self, key: str) -> str | None:
        """A stored fact about this database."""
        ...

    def set_meta(self, key: str, value: str) -> None:
        """Store a fact about this database."""
        ...

    def with_events(self, aggregates: Iterable[str]) -> set[str]:
        """Which of these aggregates have an event."""
        ...


class Store(Protocol):
    """The database of one context."""

    @property
    def waits_for_lock(self) -> bool:
        """Whether a transaction waits for another process of the context to finish its own."""
        ...

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction: commit when it returns, roll back when it raises.

        Raises:
            DatabaseBusyError: a retry may help.
            DatabaseError: a retry cannot help.
        """
        ...

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads; raises the same errors."""
        ...

    async def read_aside(self, work: Callable[[StoreReader], T]) -> T:
        """Run `work` on a second connection, which only reads: it waits for no transaction, and no transaction for it.

        Raises:
            DatabaseBusyError: the database is locked as a whole.
            DatabaseError: the database is broken.
        """
        ...

    async def close(self) -> None:
        """Finish the queued work and close the database."""
        ...
