"""Folds a batch of events into the tables of a group: one read and one write per table, whatever the batch holds.

Rows are loaded, folded in memory in the order of the stream, and written once each.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from shared.groups.read.intake import Heard, Poison
from shared.ports.views import Changed, ViewTransaction
from shared.readside.group import Group
from shared.readside.views import Follows, Table
from shared.wire.messages import rfc3339

_encoder = msgspec.json.Encoder()


@dataclass(slots=True)
class _Rows:
    """The rows of one table that a batch touches."""

    table: Table
    fold_by_kind: Mapping[tuple[str, str], Callable[..., Any]]
    decoder: msgspec.json.Decoder[Any]
    rows: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    """The sequence of the last change, by key, in the order in which the keys first changed."""
    originals: dict[str, Any] = field(default_factory=dict)
    """Each changed row as it was before the batch; None when there was none."""
    changes: list[tuple[int, Any, Any]] = field(default_factory=list)
    """(sequence, before, after) of every change, for the tables that follow."""

    def load(self, transaction: ViewTransaction, keys: Iterable[str]) -> None:
        found = transaction.rows(self.table.name, keys)
        self.rows = {key: self.decoder.decode(row) for key, row in found.items()}
        self.changed, self.originals, self.changes = {}, {}, []

    def put(self, key: str, sequence: int, before: Any, after: Any) -> None:
        if after is None or after is before:
            return
        if key not in self.changed:
            self.originals[key] = before
        self.rows[key] = after
        self.changed[key] = sequence
        self.changes.append((sequence, before, after))


class Folding:
    """The tables of one group; a table comes after the one that it follows."""

    def __init__(self, group: Group) -> None:
        self._tables = [
            _Rows(
                table,
                {(on.source, on.event.__name__): on.fold for on in table.on},
                msgspec.json.Decoder(table.row),
            )
            for table in sorted(group.tables, key=lambda table: table.follows is not None)
        ]
        self._by_name = {rows.table.name: rows for rows in self._tables}

    def fold(self, transaction: ViewTransaction, heard: Sequence[Heard]) -> list[Poison]:
        """Fold these events in their order, and write the rows; returns the events that a table could not take."""
        aside = _SetAside(heard)
        for rows in self._tables:
            if rows.table.follows is None:
                self._fold_events(transaction, rows, aside)
            else:
                self._fold_changes(transaction, rows, rows.table.follows, aside)
            self._write(transaction, rows, aside)
        return aside.poison

    @staticmethod
    def _fold_events(transaction: ViewTransaction, rows: _Rows, aside: "_SetAside") -> None:
        folds = rows.fold_by_kind
        mine = [event for event in aside.heard if event.kind in folds]
        rows.load(transaction, {event.told.key for event in mine})
        for kind, _, told, content, *_ in mine:
            before = rows.rows.get(told.key)
            try:
                after = folds[kind](before, content, told)
            except Exception as error:  # A fold is the code of a context; one event must not stop the group.
                aside.put(rows.table, told.sequence, error)
            else:
                rows.put(told.key, told.sequence, before, after)

    def _fold_changes(self, transaction: ViewTransaction, rows: _Rows, follows: Follows, aside: "_SetAside") -> None:
        changes = []
        for change in self._by_name[follows.table].changes:
            try:
                changes.append((follows.key(change[2]), *change))
            except Exception as error:  # As above.
                aside.put(rows.table, change[0], error)
        rows.load(transaction, {key for key, *_ in changes})
        for key, sequence, before, after in changes:
            row = rows.rows.get(key)
            try:
                folded = follows.fold(row, before, after)
            except Exception as error:  # As above.
                aside.put(rows.table, sequence, error)
            else:
                rows.put(key, sequence, row, folded)

    @staticmethod
    def _write(transaction: ViewTransaction, rows: _Rows, aside: "_SetAside") -> None:
        if not rows.changed:
            return
        table = rows.table
        transaction.save(
            table, [changed(table, key, sequence, rows.rows[key]) for key, sequence in rows.changed.items()]
        )
        for name, values_of in table.lists.items():
            transaction.save_lists(
                table, name, [pair for key in rows.changed for pair in _gained(rows, key, values_of, aside)]
            )
        if table.text is not None:
            new = [key for key, original in rows.originals.items() if original is None]
            transaction.save_texts(table, [pair for key in new for pair in _text(rows, key, table.text, aside)])


class _SetAside:
    """The events of a batch, and those of them that a table could not take."""

    def __init__(self, heard: Sequence[Heard]) -> None:
        self.heard = heard
        self.poison: list[Poison] = []

    def put(self, table: Table, sequence: int, error: Exception) -> None:
        """Set the event with this sequence aside, because of what the code of `table` has raised."""
        event = next(event for event in self.heard if event.told.sequence == sequence)
        reason = f"{table.name}: {type(error).__name__}: {error} ({event.identity})"
        self.poison.append(Poison(sequence, ".".join(("evt", *event.kind, event.told.key)), reason))


def changed(table: Table, key: str, sequence: int, row: Any) -> Changed:
    """A row of a table as it is written."""
    columns = tuple(_column(getattr(row, column)) for column in table.columns)
    return Changed(key, sequence, _encoder.encode(row).decode(), columns)


def _gained(
    rows: _Rows, key: str, values_of: Callable[[Any], Iterable[str]], aside: _SetAside
) -> list[tuple[str, str]]:
    """(value, key) of every value that a row has now and did not have before the batch."""
    original = rows.originals[key]
    try:
        had = () if original is None else set(values_of(original))
        return [(value, key) for value in values_of(rows.rows[key]) if value not in had]
    except Exception as error:  # As above.
        aside.put(rows.table, rows.changed[key], error)
        return []


def _text(rows: _Rows, key: str, text_of: Callable[[Any], str], aside: _SetAside) -> list[tuple[str, str]]:
    """(text, key) of a new row."""
    try:
        return [(text_of(rows.rows[key]), key)]
    except Exception as error:  # As above.
        aside.put(rows.table, rows.changed[key], error)
        return []


def _column(value: Any) -> str | None:
    """A value as its column has it: text; times are RFC 3339 in UTC with microseconds, which sort as the times do."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, datetime):
        return rfc3339(value)
    built = msgspec.to_builtins(value)
    return built if isinstance(built, str) else str(built)
