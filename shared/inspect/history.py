"""An aggregate as it was at any version: the fold of its events so far, and the event that led there."""

from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.context import Context, State
from shared.engine.recover.snapshots import Fold
from shared.inspect.databases import reading
from shared.ports.rows import JournalRow
from shared.ports.store import Transaction
from shared.wire.messages import OCCURRED_AT, aggregate_id, aggregate_name


class AggregateVersion(Struct, frozen=True, kw_only=True):
    """A state, of the version it had then and the `latest` it has now, and the event that led there."""

    aggregate: str
    version: int
    latest: int
    event_id: str
    type: str
    occurred_at: str
    state: State


class NeverWasError(Exception):
    """There is no such aggregate, or it had no such version; the text names what there is."""


def as_of(data_dir: Path, context: Context, aggregate: str, version: int | None = None) -> AggregateVersion:
    """An aggregate (`thing-k-42`) as it was at a version, or is now; workers may run meanwhile.

    A bare key (`k-42`) names an aggregate when only one of the context has that key.

    Raises:
        NeverWasError: the journal has no such aggregate or version, or several aggregates have this key.
        DatabaseError: there is no database, or its journal cannot be folded.
    """
    known = {kind.name: kind for kind in context.aggregates}
    with reading(data_dir / f"{context.name}.db", context.name) as connection:
        transaction = SqliteTransaction(connection)
        aggregate = _named(transaction, aggregate, [f"{name}-" for name in known])
        latest = transaction.last_version(aggregate) if aggregate_name(aggregate) in known else 0
        if not latest:
            kinds = " and ".join(aggregate_id(kind.name, "KEY", kind.part and "PART") for kind in known.values())
            raise NeverWasError(f"{context.name} has no {aggregate!r}; what it has is named {kinds}")
        if version is not None and not 1 <= version <= latest:
            has = "version 1 only" if latest == 1 else f"versions 1 to {latest}"
            raise NeverWasError(f"{aggregate} has {has}, not {version}")
        fold = Fold(context)
        row: JournalRow | None = None
        for row in transaction.facts_of(aggregate, up_to=version or latest):
            fold.add(row)
    assert row is not None
    return AggregateVersion(
        aggregate=aggregate,
        version=row.version,
        latest=latest,
        event_id=row.event_id,
        type=row.type,
        occurred_at=row.headers[OCCURRED_AT],
        state=fold.states[aggregate].state,
    )


def _named(transaction: Transaction, name: str, prefixes: Sequence[str]) -> str:
    """The id of the aggregate that `name` means: the name itself, or the only aggregate with this key."""
    if transaction.last_version(name):
        return name
    found = [prefix + name for prefix in prefixes if transaction.last_version(prefix + name)]
    if len(found) > 1:
        raise NeverWasError(f"{len(found)} aggregates have the key {name!r}; name one: {', '.join(found)}")
    return found[0] if found else name
