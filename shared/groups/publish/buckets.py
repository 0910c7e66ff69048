"""Writes the rows of tables into KV buckets, in the order of the stream.

A bucket follows from its table: the last message of the bucket names the event that changed the row, so the bucket
lacks the rows that later events changed. A crash between the commit and the bucket loses nothing, and a rebuild never
puts an older value into a bucket. A bucket that another client has written, purged or recreated is written again, also
while no row changes. During a catch-up a group writes no bucket; at the end of EVENTS it writes each row once.
"""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import anyio
import structlog

from shared.engine.monitor.troubles import Troubles
from shared.engine.retry import Backoff, Delays
from shared.engine.wakeup import Wakeup
from shared.groups.read.progress import Progress
from shared.ports.broker import Broker, BrokerError, Outgoing, Stored
from shared.ports.clock import Clock
from shared.ports.store import DatabaseBusyError
from shared.ports.views import Put, ViewReader, ViewStore
from shared.readside.group import Group
from shared.wire.streams import EVENTS

BATCH_AT_MOST: Final = 1_000
PLACE: Final = "Chorus-Events-Sequence"
"""The header with the sequence in EVENTS of the event that changed the row."""
GENERATION: Final = "Chorus-Generation"
EXPECTED_LAST: Final = "Nats-Expected-Last-Sequence"
OPERATION: Final = "KV-Operation"
_KEY: Final = re.compile(r"[-/_=a-zA-Z0-9]+(?:\.[-/_=a-zA-Z0-9]+)*")
"""The keys that a bucket can have. A row with another key, such as one with a space, is in the table only."""
KEY_BYTES_AT_MOST: Final = 1_000
"""A row with a longer key is in the table only too: the key is a part of a subject."""
VALUE_BYTES_AT_MOST: Final = 1_000_000
"""A server takes 1 MiB with the headers unless it is told otherwise. The key of a longer row is deleted."""
LOOKS_EVERY_S: Final = 5.0
"""How often the group checks whether another client has changed a bucket at rest."""
DELAYS: Final = Delays(first_s=0.1, last_s=5.0)

_log = structlog.get_logger("chorus.buckets")


class _Mark(NamedTuple):
    """How far a bucket has the rows of its table; `last` is the last sequence of the bucket's own stream."""

    sequence: int
    key: str
    last: int
    generation: str


class Buckets:
    """The buckets of one group."""

    def __init__(
        self, group: Group, store: ViewStore, broker: Broker, clock: Clock, troubles: Troubles, progress: Progress
    ) -> None:
        self._tables = [table.name for table in group.buckets]
        self._store = store
        self._broker = broker
        self._clock = clock
        self._troubles = troubles
        self._progress = progress
        self._wakeups = {table: Wakeup() for table in self._tables}
        self._resting: set[str] = set()

    @property
    def is_resting(self) -> bool:
        """Whether every bucket has every row."""
        return len(self._resting) == len(self._tables) and not any(one.is_set for one in self._wakeups.values())

    def wake(self) -> None:
        """Rows have changed."""
        for wakeup in self._wakeups.values():
            wakeup.set()

    async def run(self) -> None:
        """Write for ever, each bucket on its own."""
        async with anyio.create_task_group() as tasks:
            for table in self._tables:
                tasks.start_soon(self._run, table)

    async def _run(self, table: str) -> None:
        backoff, source, wakeup = Backoff(DELAYS), f"writing the bucket {table}", self._wakeups[table]
        while True:
            await self._progress.current.wait()
            try:
                mark = await self._mark(table)
                while (puts := await self._changed(table, mark)) is not None:
                    self._troubles.succeeded(source)
                    backoff.reset()
                    if puts:
                        mark = await self._put(table, puts, mark)
                    elif not wakeup.is_set:
                        mark = await self._rest(table, mark)
                    else:
                        wakeup.clear()
            except BrokerError as error:  # Whether it was stored is unknown; the bucket itself will tell.
                self._troubles.failed(source, error)
                await backoff.wait(self._clock)
            except DatabaseBusyError as error:
                self._troubles.busy(error)
                await backoff.wait(self._clock)

    async def _rest(self, table: str, mark: _Mark) -> _Mark:
        """Wait for rows that change; the mark is nowhere when another client has changed the bucket."""
        messages = 0
        self._resting.add(table)
        try:
            while not await self._wakeups[table].wait(LOOKS_EVERY_S):
                info = await self._broker.stream_info(stream_name(table))
                if info.last_sequence != mark.last or info.messages < messages:
                    _log.warning("bucket written again: somebody else has changed it", bucket=table)
                    return _Mark(0, "", info.last_sequence, mark.generation)
                messages = info.messages
        finally:
            self._resting.discard(table)
        return mark

    async def _changed(self, table: str, mark: _Mark) -> list[Put] | None:
        """The next rows to write; None when the tables are of another generation than the mark."""

        def work(view: ViewReader) -> list[Put] | None:
            if view.generation() != mark.generation:
                return None
            return view.changed_since(table, mark.sequence, mark.key, at_most=BATCH_AT_MOST)

        return await self._store.read_aside(work)

    async def _mark(self, table: str) -> _Mark:
        """How far the bucket is: nowhere, when its last message is of other tables or events, or of another client."""
        generation, known, before = await self._store.read_aside(
            lambda view: (view.generation(), view.known(), view.predecessor())
        )
        info = await self._broker.stream_info(stream_name(table))
        stored = await self._broker.get(stream_name(table), info.last_sequence) if info.last_sequence else None
        if stored is None:
            return _Mark(0, "", info.last_sequence, generation)
        place, key = stored.headers.get(PLACE, ""), stored.subject.removeprefix(subject(table, ""))
        theirs = stored.headers.get(GENERATION)
        # An older copy of EVENTS uses sequences again, so a bucket ahead of the tables tells of events that are gone.
        is_ours = theirs == generation or (before is not None and theirs == before.generation)
        if not is_ours or not place.isdecimal() or int(place) > known.sequence or not await self._tells(stored, place):
            _log.warning("bucket written again: its last message is of other tables or events", bucket=table)
            return _Mark(0, "", info.last_sequence, generation)
        if before is not None and theirs == before.generation and int(place) >= before.sequence:
            return _Mark(before.sequence, "", info.last_sequence, generation)  # The rows that were replaced follow.
        return _Mark(int(place), key, info.last_sequence, generation)

    async def _tells(self, stored: Stored, place: str) -> bool:
        """Whether the event at this place of EVENTS may be the one that the message in the bucket follows from."""
        event = await self._broker.get(EVENTS, int(place))
        return event is None or event.at <= stored.at

    async def _put(self, table: str, puts: Sequence[Put], mark: _Mark) -> _Mark:
        """Store these rows, if nothing was stored since `mark`: no late message of ours may overtake a newer one."""
        messages = [_message(table, put, mark.generation) for put in puts if _is_key(put.key)]
        if not messages:
            return mark._replace(sequence=puts[-1].sequence, key=puts[-1].key)
        messages[0] = messages[0]._replace(headers={**messages[0].headers, EXPECTED_LAST: str(mark.last)})
        if len(messages) == 1:
            last = (await self._broker.publish(messages[0])).sequence
        else:
            last = await self._broker.publish_batch(messages)
        return _Mark(puts[-1].sequence, puts[-1].key, last, mark.generation)


def _is_key(key: str) -> bool:
    return len(key) <= KEY_BYTES_AT_MOST and _KEY.fullmatch(key) is not None


def _message(table: str, put: Put, generation: str) -> Outgoing:
    headers = {PLACE: str(put.sequence), GENERATION: generation}
    if len(put.body) <= VALUE_BYTES_AT_MOST:
        return Outgoing(subject(table, put.key), headers, put.body)
    _log.warning("row is too long for its bucket", bucket=table, key=put.key, bytes=len(put.body))
    return Outgoing(subject(table, put.key), {**headers, OPERATION: "DEL"}, b"")


def stream_name(bucket: str) -> str:
    """The stream of a bucket, as every client of KV names it."""
    return f"KV_{bucket}"


def subject(bucket: str, key: str) -> str:
    """The subject of a key in a bucket."""
    return f"$KV.{bucket}.{key}"
