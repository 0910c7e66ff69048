"""Runs the topologies of a group: one event after the other, on the keyed state of one transaction.

Each stage is compiled to a function that calls the next one. A stage with state has a place in the state store, under
which its entries are kept by key, and `due` at the time from which they are final or unmatched.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, ParamSpec

import msgspec

from shared.groups.fold.flow_state import LATE, UNMATCHED_LEFT, UNMATCHED_RIGHT, Alone, FlowState, Said, Windowed
from shared.groups.fold.prefetch import load, places_by_kind
from shared.groups.read.intake import Heard, Poison
from shared.readside.dataflow import (
    Aggregated,
    Filter,
    Joined,
    KeyBy,
    Lookup,
    Map,
    Record,
    Says,
    Sink,
    Source,
    Stage,
    Topology,
    Window,
    tumbling,
)
from shared.wire.messages import check_key

P = ParamSpec("P")

Next = Callable[[Record], None]

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Flowing:
    """The topologies of one group. `time` is the stream time."""

    def __init__(self, topologies: Sequence[Topology]) -> None:
        self.time = EPOCH
        self._state: FlowState
        self._cause: Heard
        self._said: list[Said] = []
        self.poison: list[Poison] = []
        """The events of the last batch that a stage could not take."""
        self._firsts: dict[tuple[str, str], list[Next]] = {}
        self._due: dict[str, Callable[[str, bytes], None]] = {}
        self._windows: list[str] = []
        self._places = places_by_kind(topologies)
        for topology in topologies:
            self._enter(topology.sources, self._compile(topology.name, topology.stages, _end))

    @property
    def is_needed(self) -> bool:
        """Whether there is any topology."""
        return bool(self._firsts)

    def flow(self, heard: Sequence[Heard], state: FlowState) -> list[Said]:
        """Run these events through, and return the events to publish, in their order."""
        self._state, self._said, self.poison = state, [], []
        self.time = state.time
        load(heard, self._places, state)
        for event in heard:
            firsts = self._firsts.get(event.kind, ())
            if not firsts and not event.is_own:
                continue
            self._cause = event
            if event.told.at > self.time:
                self.time = event.told.at
                self._expire()
            record = Record(event.told.key, event.content, event.told.at, event.told.sequence)
            for first in firsts:
                self._guarded(first, record)
        state.time = self.time
        return self._said

    def closes_at(self, state: FlowState) -> datetime | None:
        """The time from which the earliest open window is final."""
        return state.earliest_due(self._windows)

    def close(self, state: FlowState, cause: Heard) -> list[Said]:
        """The events that follow when `cause`, which is no event of a source, moves stream time on."""
        self._state, self._said, self.poison = state, [], []
        self.time, self._cause = cause.told.at, cause
        self._expire()
        return self._said

    def _expire(self) -> None:
        """Close the windows, and give up the pairs, that stream time has passed."""
        for place, expired in self._due.items():
            if self._state.is_due(place, self.time):
                for key, entry in self._state.take_due(place, self.time):
                    self._guarded(expired, key, entry)

    def _guarded(self, stage: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run the stages from this one on. The code of a context must not stop the group, nor its other topologies."""
        try:
            stage(*args, **kwargs)
        except Exception as error:  # A builder's code may raise any.
            cause = self._cause
            subject = ".".join(("evt", *cause.kind, cause.told.key))
            self.poison.append(Poison(cause.told.sequence, subject, f"topology: {type(error).__name__}: {error}"))

    def _enter(self, sources: Sequence[Source], first: Next) -> None:
        for source in sources:
            for event in source.events:
                self._firsts.setdefault((source.context, event.__name__), []).append(first)

    def _compile(self, name: str, stages: Sequence[Stage], last: Next) -> Next:
        """The function that takes the first record; stages are compiled from the last one on."""
        following = last
        for number, stage in reversed(list(enumerate(stages))):
            before = stages[number - 1] if number else None
            window = before if isinstance(before, Window) else None
            following = self._stage(f"{name}/{number}", stage, window, following)
        return following

    def _stage(self, place: str, stage: Stage, window: Window | None, following: Next) -> Next:
        match stage:
            case Filter(kept):
                return lambda record: following(record) if kept(record.value) else None
            case Map(change):
                return lambda record: following(record._replace(value=change(record.value)))
            case KeyBy(key):
                return lambda record: following(record._replace(key=key(record.value)))
            case Window():
                return following  # The aggregate behind it knows its window.
            case Aggregated():
                return self._aggregated(place, stage, window, following)
            case Joined():
                return self._joined(place, stage, following)
            case Lookup(table, row, key, combine):
                return self._lookup(table, msgspec.json.Decoder(row), key, combine, following)
            case Says():
                return self._says(stage, following)
            case Sink():
                return self._sink(stage, following)

    def _aggregated(self, place: str, stage: Aggregated, window: Window | None, following: Next) -> Next:
        decoder = msgspec.json.Decoder(stage.initial)
        if window is None:

            def aggregate(record: Record) -> None:
                entry = self._state.get(place, record.key)
                value = stage.fold(stage.initial() if entry is None else decoder.decode(entry), record)
                self._state.put(place, record.key, msgspec.json.encode(value), None)
                following(record._replace(value=value))

            return aggregate
        entries = msgspec.json.Decoder(Windowed)

        def close(_: str, found: bytes) -> None:
            entry = entries.decode(found)
            value = decoder.decode(entry.value)
            following(Record(entry.key, value, entry.end, entry.sequence, entry.start, entry.end, final=True))

        def count(record: Record) -> None:
            start = tumbling(record.at, window.size)
            end = start + window.size
            if end + window.grace <= self.time:
                self._state.count(place, LATE)
                return
            named = f"{start.isoformat()}/{record.key}"
            found = self._state.get(place, named)
            before = stage.initial() if found is None else decoder.decode(entries.decode(found).value)
            value = stage.fold(before, record)
            entry = Windowed(record.key, start, end, record.sequence, msgspec.Raw(msgspec.json.encode(value)))
            self._state.put(place, named, msgspec.json.encode(entry), end + window.grace)
            following(record._replace(value=value, start=start, end=end))

        self._due[place] = close
        self._windows.append(place)
        return count

    def _joined(self, place: str, stage: Joined, following: Next) -> Next:
        entries = msgspec.json.Decoder(Alone)
        of_left, of_right = (msgspec.json.Decoder(kind) for kind in stage.types)

        def pair(record: Record, *, is_left: bool) -> None:
            found = self._state.get(place, record.key)
            if found is None:
                raw = msgspec.Raw(msgspec.json.encode(record.value))
                waiting = Alone(is_left, record.at, record.sequence, raw)
                self._state.put(place, record.key, msgspec.json.encode(waiting), record.at + stage.within)
                return
            alone = entries.decode(found)
            if alone.is_left == is_left:
                return  # The first one of each side counts.
            if alone.at - record.at >= stage.within:  # Too late for this partner; an earlier one was given up.
                self._state.count(place, UNMATCHED_LEFT if is_left else UNMATCHED_RIGHT)
                return
            self._state.delete(place, record.key)
            value = (of_left if alone.is_left else of_right).decode(alone.value)
            other = Record(record.key, value, alone.at, alone.sequence)
            left, right = (record, other) if is_left else (other, record)
            following(record._replace(value=stage.combine(left, right), at=max(record.at, other.at)))

        def give_up(_: str, found: bytes) -> None:
            self._state.count(place, UNMATCHED_LEFT if entries.decode(found).is_left else UNMATCHED_RIGHT)

        self._due[place] = give_up
        rights = self._compile(f"{place}r", stage.right.stages, lambda record: pair(record, is_left=False))
        self._enter(stage.right.sources, rights)
        return lambda record: pair(record, is_left=True)

    def _lookup(
        self,
        table: str,
        decoder: msgspec.json.Decoder[Any],
        key: Callable[[Any], str],
        combine: Callable[[Any, Any], Any],
        following: Next,
    ) -> Next:
        def look(record: Record) -> None:
            row = self._state.row(table, key(record.value))
            following(record._replace(value=combine(record.value, None if row is None else decoder.decode(row))))

        return look

    def _says(self, stage: Says, following: Next) -> Next:
        def say(record: Record) -> None:
            event = stage.event(record)
            if event is not None:
                check_key(getattr(event, stage.key))
                self._said.append(Said(stage, event, stage.number(event), self._cause))
            following(record)

        return say

    def _sink(self, stage: Sink, following: Next) -> Next:
        decoder = msgspec.json.Decoder(stage.table.row)

        def write(record: Record) -> None:
            key = stage.key(record)
            found = self._state.row(stage.table.name, key)
            row = stage.row(record, None if found is None else decoder.decode(found))
            if row is not None:
                self._state.write(stage.table, key, self._cause.told.sequence, row)
            following(record)

        return write


def _end(_: Record) -> None:
    """Nothing comes behind the last stage."""
