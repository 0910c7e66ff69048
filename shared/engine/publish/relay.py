"""Publishes the journal: per key in journal order, each row with its id, until the stream has it.

Many waiting rows go as one atomic batch, which costs the server one fsync. Few go as single publishes side by side, but
never two of one key at once, because the first may fail and the second may not.

A server that was away may come back without rows that it had acknowledged. The relay therefore publishes nothing on a
new connection before the reconciler has compared its streams with the journal. Otherwise a later row could overtake a
lost one.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import anyio
import structlog

from shared.engine.failpoints import reach
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.answers import Full, Refused, is_answering, outgoing, publish_each, stream_of
from shared.engine.publish.backoff import Backoff
from shared.engine.publish.blocked import BlockedKeys
from shared.engine.publish.queue import PublishQueue
from shared.engine.wakeup import Wake, Wakeup
from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, BrokerRefusedError, BrokerUnavailableError
from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow, RefusedRow

BATCH_AT_LEAST = 12
"""A batch costs the server as much as 8 single publishes, 12 on a busy disk, however few its rows are (measured)."""
BATCH_AT_MOST = 1_000
BATCH_TRIES = 2
"""A batch that gets no answer twice while the broker answers goes singly: one of its rows may be the reason."""
WAITING_AT_MOST = 20_000
"""Past this many rows the loop takes no new messages until the broker has caught up."""

_log = structlog.get_logger("chorus.relay")


class Relay:
    """One per process. `marks` are (journal number, stream sequence) for the loop to record with its next commit."""

    def __init__(
        self, broker: Broker, clock: Clock, *, linger_s: Mapping[str, float], wake: Wake, troubles: Troubles
    ) -> None:
        self.marks: list[tuple[int, int]] = []
        self.published = 0
        self._broker = broker
        self._wake = wake
        self._troubles = troubles
        self._work = Wakeup()
        self._queue = PublishQueue(linger_s, self._work.set)
        self.blocked = BlockedKeys(
            self._queue, broker, clock, troubles, is_sound=self._is_sound, mark=self._mark_blocked
        )
        self._in_hand: Sequence[NumberedRow] = ()
        self._sound = broker.reconnects
        """The connection on which the streams are known to have what the journal says they have."""
        self._found_sound = anyio.Event()
        self._connection = self._sound
        self._left: set[int] = set()
        """Partitions released since this round's rows were taken, even if reacquired since."""

    @property
    def stuck(self) -> dict[str, str]:
        """Keys whose next row the broker refuses for good, and why."""
        return self.blocked.refused

    @property
    def backlog(self) -> int:
        """How many rows are not in the stream yet."""
        return len(self._queue) + len(self._in_hand)

    @property
    def oldest(self) -> NumberedRow | None:
        """The row that has waited longest to be published, apart from refused ones."""
        return self._in_hand[0] if self._in_hand else self._queue.first

    @property
    def publishing(self) -> bool:
        """Whether rows are on their way; those that the broker refuses for good are not."""
        return bool(self._queue.due or self._queue.lingering or self._in_hand or self._queue.unanswered)

    @property
    def unrecorded(self) -> bool:
        """Whether there are marks or refusals for the loop to record."""
        return bool(self.marks or self.blocked.refusals)

    @property
    def connection(self) -> int:
        """Which connection there is now; `resume` says that its streams were compared."""
        return self._broker.reconnects

    @property
    def full(self) -> bool:
        """Whether the loop should take no new messages for now."""
        return self._queue.due + self._queue.unanswered >= WAITING_AT_MOST

    def take(self, partition: int) -> None:
        """Publish a partition's rows from now on."""
        self._queue.take(partition)

    def add(self, rows: Iterable[NumberedRow]) -> None:
        """Publish those of our partitions after all earlier rows of their keys."""
        self._queue.add(rows)

    def drop(self, partition: int) -> None:
        """Leave a partition's rows to the process that holds it now."""
        self.blocked.drop(partition)
        self._queue.drop(partition)
        self._left.add(partition)

    def resume(self, connection: int) -> None:
        """The streams were compared with the journal on this connection."""
        self._sound = connection
        self._found_sound.set()
        self._found_sound = anyio.Event()
        self._work.set()
        self.blocked.look()

    def take_progress(self) -> tuple[list[tuple[int, int]], list[RefusedRow]]:
        """Hand out the marks and refusals to record."""
        marks, self.marks = self.marks, []
        refusals, self.blocked.refusals = self.blocked.refusals, []
        return marks, refusals

    def take_back(self, marks: Sequence[tuple[int, int]], refusals: Sequence[RefusedRow]) -> None:
        """Keep what `take_progress` handed out for a later transaction: this one failed."""
        self.marks = [*marks, *self.marks]
        self.blocked.refusals = [*refusals, *self.blocked.refusals]

    async def run(self) -> None:
        """Publish for ever."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_rounds)
            tasks.start_soon(self.blocked.run)

    async def _run_rounds(self) -> None:
        while True:
            while not (self._queue.due and self._is_sound()):
                self._work.clear()
                await self._work.wait()
            self._connection = self._sound
            self._left.clear()
            rows = self._in_hand = self._queue.next(BATCH_AT_MOST)
            reach("before-publish")
            by_stream: dict[str, list[NumberedRow]] = {}
            for numbered in rows:
                by_stream.setdefault(stream_of(numbered), []).append(numbered)
            if len(by_stream) == 1:
                await self._publish(*by_stream.popitem())
            else:
                async with anyio.create_task_group() as streams:
                    for stream, of_stream in by_stream.items():
                        streams.start_soon(self._publish, stream, of_stream)
            self._in_hand = ()
            if self._queue.blocked:
                self.blocked.look()
            self._wake()

    async def _publish(self, stream: str, rows: Sequence[NumberedRow]) -> None:
        backoff, tries = Backoff(), 0
        while len(rows := [n for n in rows if self._has(n)]) >= BATCH_AT_LEAST:
            try:
                last = await self._broker.publish_batch([outgoing(numbered) for numbered in rows])
            except BrokerDeniedError:
                break  # Published singly, those rows go that this user may publish.
            except BrokerUnavailableError as error:
                self._troubles.unpublished(stream, error)
                tries += 1
                if tries >= BATCH_TRIES and await is_answering(self._broker, stream):
                    break
                await backoff.wait(self._found_sound)
            except BrokerRefusedError as error:
                _log.info("batch refused, published singly", stream=stream, rows=len(rows), reason=str(error))
                break
            else:
                reach("after-ack")
                self._troubles.published(stream)
                first = last - len(rows) + 1
                self._mark(zip(rows, range(first, last + 1), strict=True))
                return
        await self._publish_singly(stream, rows)

    async def _publish_singly(self, stream: str, rows: Sequence[NumberedRow]) -> None:
        """Publish side by side, but the rows of each key one after the other."""
        chains: dict[str, deque[NumberedRow]] = {}
        for numbered in rows:
            chains.setdefault(numbered.row.key, deque()).append(numbered)
        backoff = Backoff()
        while heads := self._heads(chains):
            trouble: BrokerError | None = None
            unanswered = []
            for numbered, answer in zip(heads, await publish_each(self._broker, heads), strict=True):
                if isinstance(answer, int):
                    reach("after-ack")
                    self._mark([(numbered, answer)])
                    chains[numbered.row.key].popleft()
                elif isinstance(answer, Refused):
                    if self._has(numbered):
                        self.blocked.block(numbered, answer)
                elif isinstance(answer, Full):
                    trouble = answer.error
                else:
                    unanswered.append((numbered, answer))
            # Otherwise the keys without an answer would hold up all rows of this round, and every later round.
            if unanswered and (len(unanswered) < len(heads) or await is_answering(self._broker, stream)):
                for numbered, answer in unanswered:
                    if self._has(numbered):
                        self.blocked.block(numbered, answer)
            elif unanswered:
                trouble = trouble or unanswered[0][1].error
            if trouble is None:
                self._troubles.published(stream)
            else:
                self._troubles.unpublished(stream, trouble)
                await backoff.wait(self._found_sound)

    def _heads(self, chains: dict[str, deque[NumberedRow]]) -> list[NumberedRow]:
        """The first row of each key that is to be published now; the outbox keeps the rows of blocked keys."""
        for key, chain in list(chains.items()):
            while chain and not self._has(chain[0]):
                chain.popleft()
            if key in self._queue.blocked:
                self._queue.keep(chain)
                chain.clear()
            if not chain:
                del chains[key]
        return [chain[0] for chain in chains.values()]

    def _is_sound(self) -> bool:
        return self._sound == self._broker.reconnects

    def _has(self, numbered: NumberedRow) -> bool:
        """Whether a row of this round is still ours; if not, its partition's new owner finds it in the journal."""
        return self._connection == self._broker.reconnects and numbered.row.partition not in self._left

    def _mark(self, published: Iterable[tuple[NumberedRow, int]]) -> None:
        """Note the sequences, except of released partitions: their stream may be another one by now."""
        marks = [(numbered.n, sequence) for numbered, sequence in published if self._has(numbered)]
        self.marks.extend(marks)
        self.published += len(marks)

    def _mark_blocked(self, numbered: NumberedRow, sequence: int) -> None:
        reach("after-ack")
        self._troubles.published(stream_of(numbered))
        self.marks.append((numbered.n, sequence))
        self.published += 1
        self._wake()
