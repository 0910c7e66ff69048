"""The port to the database of a group: its tables, and its position in EVENTS, in one transaction."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

from shared.ports.forwards import ForwardRows
from shared.ports.rows import JournalRow, NumberedRow
from shared.readside.views import Table, View

T = TypeVar("T")


class Known(NamedTuple):
    """How far a group knows EVENTS: the sequence, id and time of the last message it has folded.

    `created` tells the stream from another one of the same name.
    """

    sequence: int = 0
    message_id: str = ""
    at_ns: int = 0
    created: str = ""


class Changed(NamedTuple):
    """A row to write: its JSON, and the sequence of the event that changed it last."""

    key: str
    sequence: int
    body: str
    columns: tuple[Any, ...]


class StateRow(NamedTuple):
    """An entry of the state of a topology; `due` is in microseconds since 1970."""

    place: str
    key: str
    due: int | None
    entry: bytes


class Put(NamedTuple):
    """A row to write into its KV bucket."""

    key: str
    sequence: int
    body: bytes


class Predecessor(NamedTuple):
    """The tables that `chorus replay --swap` has replaced: their generation, and the position of the replacement.

    The rows that differ from those of the replaced tables have this sequence.
    """

    sequence: int
    generation: str


class RowDifference(NamedTuple):
    """A row that differs in a second database: its place (`what`), its key, and its JSON in both.

    `sequence` is that of the later one of the two changes, where a row has any.
    """

    what: str
    key: str
    before: str | None
    after: str | None
    sequence: int | None


class ViewTransaction(Protocol):
    """The statements of one transaction."""

    def known(self) -> Known:
        """The position."""
        ...

    def advance(self, expected: int, known: Known) -> None:
        """Move the position by compare-and-set; raises FencedError when it is elsewhere."""
        ...

    def versions(self, aggregates: Iterable[str]) -> dict[str, int]:
        """The last version of those of these aggregates of which an event was folded."""
        ...

    def save_versions(self, versions: Mapping[str, int]) -> None:
        """Remember the last versions of aggregates."""
        ...

    def rows(self, table: str, keys: Iterable[str]) -> dict[str, str]:
        """The JSON of those of these rows that exist."""
        ...

    def save(self, table: Table, rows: Sequence[Changed]) -> None:
        """Insert or replace rows, in the order in which they are first seen."""
        ...

    def save_lists(self, table: Table, name: str, values: Sequence[tuple[str, str]]) -> None:
        """Add (value, key) to a column of which a row has several values."""
        ...

    def save_texts(self, table: Table, texts: Sequence[tuple[str, str]]) -> None:
        """Add (text, key) of new rows to the search."""
        ...

    def state(self, place: str, key: str) -> tuple[bytes | None, int | None]:
        """An entry of the state of a topology, and when it is due."""
        ...

    def states(self, place: str, keys: Iterable[str]) -> dict[str, tuple[bytes | None, int | None]]:
        """Those of these entries of a place that exist."""
        ...

    def save_state(self, rows: Sequence[StateRow], deleted: Sequence[tuple[str, str]]) -> None:
        """Insert or replace entries, and delete those of these (place, key)."""
        ...

    def next_due(self, place: str) -> int | None:
        """The earliest due time of a place."""
        ...

    def due(self, place: str, up_to: int, *, at_most: int) -> list[tuple[str, bytes]]:
        """(key, entry) of the first entries that are due up to this time, the earliest first."""
        ...

    def add_counts(self, counts: Sequence[tuple[str, str, int]]) -> None:
        """Add (place, what, number) to the counts of late and unmatched records."""
        ...

    def add_to_outbox(self, rows: Sequence[JournalRow]) -> list[NumberedRow]:
        """Append events to publish, but for those whose id is there already; returns the new ones."""
        ...

    def unpublished(self) -> list[NumberedRow]:
        """The events that EVENTS does not have yet, oldest first."""
        ...

    def seen_in_stream(self, published: Sequence[tuple[int, str]]) -> None:
        """Record (sequence, event id) of own events that EVENTS has, also of those that no topology has given yet."""
        ...

    @property
    def forwards(self) -> ForwardRows:
        """The events to forward; only for a group that forwards."""
        ...

    def forget(self) -> None:
        """Delete all rows, versions and poison, and begin a new generation: EVENTS is another stream than it was."""
        ...

    def set_aside(self, poison: Sequence[tuple[int, str, str]]) -> None:
        """Record (sequence, subject, reason) of events; an event with several reasons has all of them."""
        ...


class ViewReader(View, Protocol):
    """The tables in one read snapshot: for queries and buckets."""

    def known(self) -> Known:
        """The position of this snapshot."""
        ...

    def generation(self) -> str:
        """Names the shape of the tables and the stream behind them; a bucket of another one is written again."""
        ...

    def predecessor(self) -> Predecessor | None:
        """The tables that these ones have replaced, if any."""
        ...

    def changed_since(self, table: str, sequence: int, key: str, *, at_most: int) -> list[Put]:
        """Rows that changed after this place, in the order of the events that changed them."""
        ...


class ViewStore(Protocol):
    """The database of one group."""

    async def transact(self, work: Callable[[ViewTransaction], T]) -> T:
        """Run `work` in one write transaction; raises DatabaseBusyError, DatabaseError and what `work` raises."""
        ...

    async def read_aside(self, work: Callable[[ViewReader], T]) -> T:
        """Run `work` beside the transactions, on one snapshot of the tables."""
        ...

    def has_successor(self, created: str) -> bool:
        """Whether a successor waits: a second database of the same shape, and of the EVENTS that was created then."""
        ...

    async def open_successor(self) -> "ViewStore":
        """Open the successor; close it before `succeed`."""
        ...

    async def succeed(self) -> None:
        """Replace this database by the successor, and go on with it; queries wait meanwhile.

        Raises:
            DatabaseError: another process reads one of the two; this one stays.
        """
        ...

    async def close(self) -> None:
        """Finish the queued work and close the database."""
        ...


class Comparison(Protocol):
    """A second database of a group beside one snapshot of the live one."""

    @property
    def known(self) -> Known:
        """The position of the live one."""
        ...

    def compare(self) -> None:
        """Compare the two. Requires: the second one has the position of the live one.

        The rows that differ are put into their buckets once the second database is the live one.
        """
        ...

    def differences(self) -> Iterator[RowDifference]:
        """Each row that differs. Requires: `compare` was called."""
        ...


class SecondDatabase(Protocol):
    """A second database of a group in the making."""

    def position(self) -> Known:
        """How far the live one is; raises DatabaseError where there is none."""
        ...

    async def create(self) -> ViewStore:
        """Create the second one, empty; raises DatabaseError where a file is in its place."""
        ...

    def beside_live(self) -> AbstractContextManager[Comparison]:
        """The second one beside the live one as it is now."""
        ...

    def complete(self) -> None:
        """Give the second one the name of a successor. Requires: it is closed."""
        ...
