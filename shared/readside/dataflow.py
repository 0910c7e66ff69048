"""Declares dataflow topologies: streams of events that are filtered, grouped, counted in windows and joined.

A topology is a value, made with `|` in the language of the field:

    source("here", ThingDone) | KeyBy(kind_of) | Window(minutes(1)) | Aggregated(Count, count) | Sink(THINGS, row_of)

The functions in it are pure. The state between two events is in the database of the group, committed with the position.
Time is event time: stream time is the latest time at which an event occurred, and no clock is asked. So the same stream
gives the same figures, whenever it is read. A record that is late and still within the grace of its window corrects it;
a later one is counted as late. A window is final, and an entry of a join unmatched, once stream time is past it. The
events that a topology publishes are in EVENTS too: one about a window moves stream time on when no other event comes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypeAlias

from msgspec import Struct

from shared.readside.views import Table

GRACE = timedelta(seconds=30)


class Record(NamedTuple):
    """A value on its way through a topology.

    `at` is its event time, `sequence` the place in EVENTS of the event behind it. Behind a `Window`, `start` and `end`
    are those of the window, and the record is `final` when the window has closed.
    """

    key: str
    value: Any
    at: datetime
    sequence: int
    start: datetime | None = None
    end: datetime | None = None
    final: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    """The events of one context, each type in the form that the group reads; the key is that of the subject."""

    context: str
    events: tuple[type[Struct], ...]


@dataclass(frozen=True, slots=True)
class Filter:
    """Pass on the records for whose value `kept` is true."""

    kept: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Map:
    """Replace each value."""

    change: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class KeyBy:
    """Give each record another key."""

    key: Callable[[Any], str]


@dataclass(frozen=True, slots=True)
class Window:
    """Tumbling windows of this size. An `Aggregated` comes next, and holds one value per key and window."""

    size: timedelta
    grace: timedelta = GRACE


@dataclass(frozen=True, slots=True)
class Aggregated:
    """The fold of the records of a key, and of a window if there is one: `fold(aggregate, record)`, from `initial()`.

    Each record gives the new aggregate. `initial` is the class of the aggregate, which has defaults.
    """

    initial: type[Struct]
    fold: Callable[[Any, Record], Any]


@dataclass(frozen=True, slots=True)
class Joined:
    """The first record of each key on the left with the first one of `right`, if they are `within` this time.

    Gives `combine(left, right)`, at the time of the later one, and forgets the two: a later record of the key waits for
    a partner of its own. A record that stays alone is counted as unmatched.
    `types` are the classes of the two values, by which the state is read again.
    """

    right: "Topology"
    within: timedelta
    types: tuple[type[Any], type[Any]]
    combine: Callable[[Record, Record], Any]


@dataclass(frozen=True, slots=True)
class Lookup:
    """Give `combine(value, row)`, with the row under `key(value)` in a table that a topology of the group writes.

    The row is as the events before this one have left it; None where there is none.
    """

    table: str
    row: type[Struct]
    key: Callable[[Any], str]
    combine: Callable[[Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Says:
    """Publish `event(record)` as an event of the read side, unless it is None.

    The event is `number(event)` of those under its key, counted from 1, so that it has the same id in every rebuild.
    """

    type: type[Struct]
    key: str
    event: Callable[[Record], Struct | None]
    number: Callable[[Any], int] = lambda _: 1


@dataclass(frozen=True, slots=True)
class Sink:
    """Write `row(record, before)` under `key(record)` into a table of the group."""

    table: Table
    row: Callable[[Record, Any], Struct | None]
    key: Callable[[Record], str] = lambda record: record.key


Stage: TypeAlias = Filter | Map | KeyBy | Window | Aggregated | Joined | Lookup | Says | Sink


@dataclass(frozen=True, slots=True)
class Topology:
    """Sources and the stages after them; `name` distinguishes its state from that of other topologies of the group."""

    sources: tuple[Source, ...]
    stages: tuple[Stage, ...] = ()
    name: str = ""

    def __or__(self, stage: Stage) -> "Topology":
        return replace(self, stages=(*self.stages, stage))

    def named(self, name: str) -> "Topology":
        """The same topology under this name."""
        return replace(self, name=name)

    @property
    def all_sources(self) -> tuple[Source, ...]:
        """Its sources, and those of the topologies that it joins."""
        joined = [source for stage in self.stages if isinstance(stage, Joined) for source in stage.right.all_sources]
        return (*self.sources, *joined)

    @property
    def tables(self) -> Iterator[Table]:
        """The tables that it writes."""
        return (stage.table for stage in self.stages if isinstance(stage, Sink))

    @property
    def says(self) -> Iterator[Says]:
        """The events that it publishes."""
        return (stage for stage in self.stages if isinstance(stage, Says))


def source(context: str, *events: type[Struct]) -> Topology:
    """The beginning of a topology: these events of one context."""
    return Topology((Source(context, events),))


def merged(*topologies: Topology) -> Topology:
    """The beginning of a topology with the sources of several; each of them has no stages yet."""
    assert not any(one.stages for one in topologies), "merge sources before the first stage"
    return Topology(tuple(source for one in topologies for source in one.sources))


def tumbling(at: datetime, size: timedelta) -> datetime:
    """The beginning of the window of this size that a time falls into."""
    epoch = datetime(1970, 1, 1, tzinfo=at.tzinfo)
    return at - (at - epoch) % size
