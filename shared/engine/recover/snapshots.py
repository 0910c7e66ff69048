"""Folds the journal into snapshots. A snapshot is a cache: the state of an aggregate is the fold of its events."""

from functools import cache, partial
from itertools import groupby
from typing import Any, Final, NamedTuple

import msgspec

from shared.context import Context, Event, State
from shared.ports.rows import SNAPSHOTS, JournalRow
from shared.ports.store import DatabaseError, Store, Transaction
from shared.wire.bodies import MalformedBodyError
from shared.wire.messages import NEVER, aggregate_name, content_hash

AGGREGATES_AT_ONCE: Final = 1_000
"""The number of states in memory while a journal is folded."""

_encoder = msgspec.json.Encoder()


class Folded(NamedTuple):
    """An aggregate's state after its event of this version."""

    version: int
    state: State


class Fold:
    """Folds the events of a context, in order, into the states of its aggregates. Pure."""

    def __init__(self, context: Context) -> None:
        self.states: dict[str, Folded] = {}
        self._names = {aggregate.name for aggregate in context.aggregates}
        self._known = {
            event.__name__: (aggregate, context.decoder_of(event))
            for aggregate in context.aggregates
            for event in aggregate.events
        }

    def add(self, row: JournalRow) -> Event | None:
        """Apply the event in a row to its aggregate and return it; None for an event of the engine, such as a refusal.

        Raises:
            DatabaseError: the event does not follow those before it, or this release cannot read it.
        """
        if row.type not in self._known:
            if aggregate_name(row.aggregate) in self._names:
                raise DatabaseError(f"{row.event_id} is {row.type}, which this release does not know; run a newer one")
            return None
        aggregate, decoder = self._known[row.type]
        try:
            event: Event = decoder.decode(row.body, key=row.key, at=NEVER, headers=row.headers)
        except MalformedBodyError as error:
            raise DatabaseError(f"{row.event_id} cannot be read: {error}") from error
        before = self.states.get(row.aggregate) or Folded(0, aggregate.state())
        if row.version != before.version + 1:
            raise DatabaseError(f"{row.event_id} follows version {before.version}: an event between them is missing")
        try:
            state = aggregate.evolve(before.state, event)
        except Exception as error:  # `evolve` is the builder's code and may raise anything.
            problem = f"{row.event_id}: {row.type} cannot follow what came before it: {type(error).__name__}: {error}"
            raise DatabaseError(problem) from error
        self.states[row.aggregate] = Folded(row.version, state)
        return event

    def snapshots(self) -> list[tuple[str, int, str]]:
        """(id, version, state) of every aggregate."""
        return [(name, version, _encoder.encode(state).decode()) for name, (version, state) in self.states.items()]


def shape_of(context: Context) -> str:
    """The version that snapshots belong to: the context's `schema_version` and the fields of its states."""
    schemas = {aggregate.name: _schema_of(aggregate.state) for aggregate in context.aggregates}
    return f"{context.schema_version} {content_hash(_encoder.encode(schemas)).hex()}"


@cache
def _schema_of(state: type[State]) -> dict[str, Any]:
    return msgspec.json.schema(state)


async def ensure_snapshots(store: Store, context: Context) -> int | None:
    """Fold the journal into snapshots if one is missing or has another shape; returns their number, or None.

    One transaction, so two processes do it once, and one that is killed has done nothing.

    Raises:
        DatabaseBusyError: try again later.
        DatabaseError: the journal cannot be folded by this release.
    """
    shape = shape_of(context)
    if await store.read(lambda transaction: transaction.meta(SNAPSHOTS)) == shape:
        return None
    return await store.transact(partial(_renew, context=context, shape=shape))


def _renew(transaction: Transaction, context: Context, shape: str) -> int | None:
    if transaction.meta(SNAPSHOTS) == shape:
        return None
    transaction.drop_snapshots()
    fold, written = Fold(context), 0
    for _, facts in groupby(transaction.events(), key=lambda row: row.aggregate):
        for row in facts:
            fold.add(row)
        if len(fold.states) == AGGREGATES_AT_ONCE:
            transaction.save_snapshots(fold.snapshots())
            written += len(fold.states)
            fold.states.clear()
    transaction.save_snapshots(fold.snapshots())
    transaction.set_meta(SNAPSHOTS, shape)
    return written + len(fold.states)
