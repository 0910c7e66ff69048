"""The events that a context has heard, from EVENTS: partition by partition, in the order in which it decided them.

Most causes in a journal are the next events of their partitions. The events in between led to nothing, and a replay
decides them again as well. A cause from further back, such as a message that was parked, is looked up under its key.
"""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Final, NamedTuple, Protocol

from shared.engine.route.routing import Routing
from shared.ports.broker import Stored
from shared.wire.messages import is_event_id, parse_subject, partition_of
from shared.wire.streams import EVENTS

WINDOW: Final = 2_000
"""How many events of one partition are in memory while a cause is sought."""


class EventReader(Protocol):
    """The only part of a broker that a replay has: it can neither publish nor ask."""

    def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """The messages of a stream under a subject, in order."""
        ...


class Found(NamedTuple):
    """A cause, if it was found, and the events of its partition before it that led to nothing."""

    event: Stored | None
    quiet: list[Stored]


class _Partition:
    def __init__(self, events: AsyncIterator[Stored]) -> None:
        self.events = events
        self.buffered: deque[Stored] = deque()
        self.is_at_end = False


class HeardEvents:
    """Reads each partition once, up to the position of the context."""

    def __init__(self, reader: EventReader, routing: Routing, positions: Mapping[int, int]) -> None:
        self._reader = reader
        self._routing = routing
        self._heard = {(policy.source, policy.event.__name__) for policy in routing.context.policies}
        self._partitions = {
            number: _Partition(reader.read(EVENTS, f"evt.*.*.{number}.*", up_to=position))
            for number, position in positions.items()
            if position
        }

    async def take(self, event_id: str) -> Found:
        """The event with this id, and the events before it that nobody took."""
        _, key = source_and_key(event_id)
        partition = self._partitions.get(partition_of(key, self._routing.partitions)) if key else None
        quiet: list[Stored] = []
        while partition is not None:
            for before, event in enumerate(partition.buffered):
                if event.event_id == event_id:
                    quiet += [partition.buffered.popleft() for _ in range(before)]
                    partition.buffered.popleft()
                    return Found(event, quiet)
            if len(partition.buffered) < WINDOW and await self._fill(partition):
                continue
            earlier = await self.under_its_key(event_id)
            if partition.is_at_end or earlier is None or earlier.sequence < partition.buffered[0].sequence:
                return Found(earlier, quiet)
            quiet += partition.buffered
            partition.buffered.clear()
        return Found(None, quiet)

    async def rest(self) -> AsyncIterator[Stored]:
        """The events that nobody took, up to the positions."""
        for partition in self._partitions.values():
            while partition.buffered or await self._fill(partition):
                yield partition.buffered.popleft()

    async def _fill(self, partition: _Partition) -> bool:
        """Buffer the next event that the context reacts to; False at the end."""
        async for event in partition.events:
            # Most events of a partition are for others, so the subject is not parsed.
            if tuple(event.subject.split(".", 3)[1:3]) in self._heard and _is_well_formed(event.subject):
                partition.buffered.append(event)
                return True
        partition.is_at_end = True
        return False

    async def under_its_key(self, event_id: str) -> Stored | None:
        """An event by its id, wherever it stands."""
        source, key = source_and_key(event_id)
        if key:
            number = partition_of(key, self._routing.partitions)
            async for event in self._reader.read(EVENTS, f"evt.{source}.*.{number}.{key}"):
                if event.event_id == event_id:
                    return event
        return None


def _is_well_formed(subject: str) -> bool:
    """Whether the subject is one that a context gives; a stranger's may have a malformed key."""
    try:
        parse_subject(subject)
    except ValueError:
        return False
    return True


def source_and_key(event_id: str) -> tuple[str, str]:
    """The context and the key that the id of an event names: `here` and `k-1` of `here/thing-k-1.p@2`."""
    if not is_event_id(event_id):
        return "", ""
    source, _, rest = event_id.partition("/")
    aggregate = rest.rpartition("@")[0]
    return source, aggregate.partition("-")[2].partition(".")[0]
