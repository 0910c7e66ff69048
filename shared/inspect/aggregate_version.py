"""Reads an aggregate as of any version or moment: the fold of its events up to there, and the last of them."""

from collections.abc import Sequence
from datetime import datetime

from msgspec import Struct

from shared.context import Context, State
from shared.engine.recover.snapshots import Fold
from shared.ports.databases import Databases
from shared.ports.rows import JournalRow
from shared.ports.store_reader import StoreReader
from shared.wire.messages import OCCURRED_AT, aggregate_id, aggregate_name


class AggregateVersion(Struct, frozen=True, kw_only=True):
    """The state of an aggregate as of `version`, and the event that led there. `latest` is its version now."""

    aggregate: str
    version: int
    latest: int
    event_id: str
    type: str
    occurred_at: str
    state: State


class NoSuchVersionError(Exception):
    """The aggregate, or this version of it, does not exist; the text names what exists."""


def as_of(databases: Databases, context: Context, aggregate: str, at: int | datetime | None = None) -> AggregateVersion:
    """Read an aggregate such as `thing-k-42` as of a version or an aware time, or as it is now; workers may run.

    A bare key such as `k-42` is enough when only one aggregate of the context has it. As of a time, the first event
    that occurred after it ends the fold.

    Raises:
        NoSuchVersionError: the journal has no such aggregate or version, or several aggregates have this key.
        DatabaseError: the database is missing, or its journal cannot be folded.
    """
    known = {kind.name: kind for kind in context.aggregates}
    with databases.reading(context.name) as reader:
        aggregate = _resolve(reader, aggregate, [f"{name}-" for name in known])
        latest = reader.last_versions([aggregate]).get(aggregate, 0) if aggregate_name(aggregate) in known else 0
        if not latest:
            kinds = " and ".join(aggregate_id(kind.name, "KEY", kind.part and "PART") for kind in known.values())
            raise NoSuchVersionError(f"{context.name} has no {aggregate!r}; what it has is named {kinds}")
        if isinstance(at, int) and not 1 <= at <= latest:
            has = "version 1 only" if latest == 1 else f"versions 1 to {latest}"
            raise NoSuchVersionError(f"{aggregate} has {has}, not {at}")
        fold = Fold(context)
        row: JournalRow | None = None
        for following in reader.events_of(aggregate, up_to=at if isinstance(at, int) else latest):
            occurred_at = following.headers[OCCURRED_AT]
            if isinstance(at, datetime) and datetime.fromisoformat(occurred_at) > at:
                if row is None:
                    raise NoSuchVersionError(f"{aggregate} was not there yet: its first event is of {occurred_at}")
                break
            row = following
            fold.add(row)
    assert row is not None
    return _version(row, latest, fold)


def history(databases: Databases, context: Context, aggregate: str, *, first: int, last: int) -> list[AggregateVersion]:
    """The aggregate after each of its events from `first` to `last`; raises DatabaseError."""
    found = []
    with databases.reading(context.name) as reader:
        latest = reader.last_versions([aggregate]).get(aggregate, 0)
        fold = Fold(context)
        for row in reader.events_of(aggregate, up_to=last):
            fold.add(row)
            if row.version >= first:
                found.append(_version(row, latest, fold))
    return found


def _version(row: JournalRow, latest: int, fold: Fold) -> AggregateVersion:
    return AggregateVersion(
        aggregate=row.aggregate,
        version=row.version,
        latest=latest,
        event_id=row.event_id,
        type=row.type,
        occurred_at=row.headers[OCCURRED_AT],
        state=fold.states[row.aggregate].state,
    )


def _resolve(reader: StoreReader, name: str, prefixes: Sequence[str]) -> str:
    """The id of an aggregate: the name itself, or the id of the only aggregate with this key."""
    found = list(reader.last_versions([name, *(prefix + name for prefix in prefixes)]))
    if name in found:
        return name
    if len(found) > 1:
        raise NoSuchVersionError(f"{len(found)} aggregates have the key {name!r}; name one: {', '.join(found)}")
    return found[0] if found else name
