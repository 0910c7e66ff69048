"""The keyed state of the topologies during one transaction: read when first asked for, written once at its end."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from shared.groups.fold.folding import changed
from shared.groups.read.intake import Heard
from shared.ports.views import StateRow, ViewTransaction
from shared.readside.dataflow import Says
from shared.readside.views import Table

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIME: Final = ("", "stream time")
_NEVER: Final = 2**62
DUE_AT_MOST: Final = 1_000
"""After a silence, all that a join has waited for in a month may be due at once."""


LATE: Final = "late"
UNMATCHED_LEFT: Final = "unmatched left"
UNMATCHED_RIGHT: Final = "unmatched right"


class Said(NamedTuple):
    """An event to publish, caused by `cause`; it is number `number` of those under its key."""

    says: Says
    event: Struct
    number: int
    cause: Heard


class Windowed(Struct, frozen=True):
    """The entry of a window: its aggregate is in `value`."""

    key: str
    start: datetime
    end: datetime
    sequence: int
    value: msgspec.Raw


class Alone(Struct, frozen=True):
    """The entry of a join: one side, which waits for the other."""

    is_left: bool
    at: datetime
    sequence: int
    value: msgspec.Raw


class FlowState:
    """Entries by (place, key); `time` is the stream time, which is kept with them."""

    def __init__(self, transaction: ViewTransaction) -> None:
        self._transaction = transaction
        self._entries: dict[tuple[str, str], tuple[bytes | None, int | None]] = {}
        self._changed: dict[tuple[str, str], None] = {}
        self._next_due: dict[str, int] = {}
        self._counts: dict[tuple[str, str], int] = {}
        self._rows: dict[tuple[str, str], bytes | None] = {}
        self._written: dict[str, dict[str, tuple[int, Struct]]] = {}
        self._tables: dict[str, Table] = {}
        stored = self.get(*_TIME)
        self.time = _EPOCH if stored is None else _EPOCH + timedelta(microseconds=int(stored))

    def get(self, place: str, key: str) -> bytes | None:
        """An entry, or None."""
        found = self._entries.get((place, key))
        if found is None:
            found = self._entries[place, key] = self._transaction.state(place, key)
        return found[0]

    def load(self, place: str, keys: Iterable[str]) -> None:
        """Read entries that will be asked for, in one query."""
        missing = [key for key in keys if (place, key) not in self._entries]
        found = self._transaction.states(place, missing) if missing else {}
        for key in missing:
            self._entries[place, key] = found.get(key, (None, None))

    def put(self, place: str, key: str, entry: bytes, due: datetime | None) -> None:
        """Insert or replace an entry; it is due when stream time has reached this time."""
        at = None if due is None else _micros(due)
        self._entries[place, key] = (entry, at)
        self._changed[place, key] = None
        if at is not None and at < self._due_in(place):
            self._next_due[place] = at

    def delete(self, place: str, key: str) -> None:
        """Delete an entry."""
        self._entries[place, key] = (None, None)
        self._changed[place, key] = None

    def is_due(self, place: str, time: datetime) -> bool:
        """Whether any entry of the place may be due."""
        return self._due_in(place) <= _micros(time)

    def earliest_due(self, places: Iterable[str]) -> datetime | None:
        """The earliest due time of these places."""
        earliest = min((self._due_in(place) for place in places), default=_NEVER)
        return None if earliest == _NEVER else _EPOCH + timedelta(microseconds=earliest)

    def take_due(self, place: str, time: datetime) -> Iterator[tuple[str, bytes]]:
        """Remove and yield the entries of a place that are due, the earliest first; few are in memory at a time."""
        self._write_entries()
        while due := self._transaction.due(place, _micros(time), at_most=DUE_AT_MOST):
            for key, _ in due:
                self.delete(place, key)
            self._write_entries()
            for key, _ in due:
                del self._entries[place, key]
            self._next_due[place] = self._asked_due(place)
            yield from due

    def count(self, place: str, what: str) -> None:
        """Count a record that was late or unmatched."""
        self._counts[place, what] = self._counts.get((place, what), 0) + 1

    def row(self, table: str, key: str) -> bytes | None:
        """The row of a table, as JSON."""
        if (table, key) not in self._rows:
            found = self._transaction.rows(table, [key]).get(key)
            self._rows[table, key] = None if found is None else found.encode()
        return self._rows[table, key]

    def write(self, table: Table, key: str, sequence: int, row: Struct) -> None:
        """Insert or replace the row of a table."""
        self._tables[table.name] = table
        self._rows[table.name, key] = msgspec.json.encode(row)
        self._written.setdefault(table.name, {})[key] = (sequence, row)

    def flush(self) -> None:
        """Write everything that has changed."""
        self.put(*_TIME, str(_micros(self.time)).encode(), None)
        self._write_entries()
        self._transaction.add_counts([(*named, number) for named, number in self._counts.items()])
        for name, written in self._written.items():
            table = self._tables[name]
            self._transaction.save(table, [changed(table, key, *one) for key, one in written.items()])

    def _write_entries(self) -> None:
        rows: list[StateRow] = []
        deleted: list[tuple[str, str]] = []
        for named in self._changed:
            entry, due = self._entries[named]
            if entry is None:
                deleted.append(named)
            else:
                rows.append(StateRow(*named, due, entry))
        self._changed.clear()
        self._transaction.save_state(rows, deleted)

    def _due_in(self, place: str) -> int:
        if place not in self._next_due:
            self._next_due[place] = self._asked_due(place)
        return self._next_due[place]

    def _asked_due(self, place: str) -> int:
        found = self._transaction.next_due(place)
        return _NEVER if found is None else found


def _micros(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)
