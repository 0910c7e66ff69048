"""The relay publishes the outbox: per key in journal order, each row under its own id, until the stream has the row.

Many rows go as one atomic batch, which costs the server six syncs on a disk, however many rows there are (traced). A
few rows go as single publishes side by side, but never two rows of one key at once: the first could fail and the second
succeed.

A server that restarts may have lost rows that it had acknowledged. So after a reconnect the relay publishes nothing
until the reconciler has compared the streams with the journal. Otherwise a later row could overtake a lost one.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

import anyio
import structlog

from shared.engine.failpoints import reach
from shared.engine.monitor.timings import Timings
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.blocked import BlockedKeys
from shared.engine.publish.blocked_key import UNANSWERED_DELAYS
from shared.engine.publish.queue import PublishQueue
from shared.engine.publish.single import Full, Refused, by_key, by_stream, is_answering, outgoing, publish_each
from shared.engine.retry import Backoff
from shared.engine.wakeup import Wakeup
from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, BrokerRefusedError, BrokerUnavailableError
from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow

BATCH_AT_LEAST = 12
"""A batch of any size costs the server as much as 8 to 14 single publishes, by the state of the disk, or 5 to 6 where
it stages batches in RAM (measured). Lower bounds made no saga faster there."""
BATCH_AT_MOST = 1_000
BATCH_TRIES = 2
"""When the broker answers, but not this batch, the relay publishes its rows singly: one of them may be the reason."""
BACKLOG_AT_MOST = 20_000
"""Backpressure, like `blocked.REFUSED_AT_MOST`: with more rows due or unanswered the loop takes no new messages."""

_log = structlog.get_logger("chorus.relay")


class Relay:
    """One per process. The loop collects what was acknowledged (`drain_acknowledged`) and records it at its commits."""

    def __init__(self, broker: Broker, clock: Clock, *, linger_s: Mapping[str, float], troubles: Troubles) -> None:
        self.published = 0
        self.publish_times = Timings()
        self._broker = broker
        self._clock = clock
        self._troubles = troubles
        self._wakeup = Wakeup()
        self._queue = PublishQueue(linger_s, clock, self._wakeup.set)
        self.blocked = BlockedKeys(
            broker,
            clock,
            troubles,
            requeue=self._queue.put_first,
            is_verified=self._is_verified,
            acknowledged=self._note_published_blocked,
        )
        self._in_flight: Sequence[NumberedRow] = ()
        self._acknowledged: list[tuple[int, int]] = []
        self._verified = broker.reconnects
        """The connection on which the reconciler last compared the streams with the journal."""
        self._verified_again = anyio.Event()
        self._round_connection = self._verified
        self._revoked_in_round: set[int] = set()
        """Partitions revoked since the rows in flight were taken, even if assigned again since."""

    @property
    def backlog(self) -> int:
        """The number of rows that are not in their stream yet."""
        return len(self._queue) + len(self._in_flight) + len(self.blocked)

    @property
    def oldest(self) -> NumberedRow | None:
        """The row that has waited longest, apart from rows of blocked keys."""
        return self._in_flight[0] if self._in_flight else self._queue.first

    @property
    def is_publishing(self) -> bool:
        """Whether rows are on their way. Rows that the broker refuses for good are not."""
        return bool(self._queue or self._in_flight or self.blocked.unanswered)

    @property
    def has_news(self) -> bool:
        """Whether `drain_acknowledged` or `blocked.drain_refusals` would return anything."""
        return bool(self._acknowledged or self.blocked.has_refusals)

    @property
    def connection(self) -> int:
        """The number of the current connection, for `resume`."""
        return self._broker.reconnects

    @property
    def is_full(self) -> bool:
        """Whether the loop should take no new messages for now."""
        return self._queue.due + self.blocked.unanswered >= BACKLOG_AT_MOST or self.blocked.is_full

    def assign(self, partition: int) -> None:
        """Publish the rows of a partition from now on."""
        self._queue.assign(partition)

    def add(self, rows: Iterable[NumberedRow]) -> None:
        """Publish those rows that belong to our partitions, after the earlier rows of their keys."""
        self._queue.add(rows)

    def revoke(self, partition: int) -> None:
        """Stop publishing the rows of a partition; its new owner does."""
        self.blocked.revoke(partition)
        self._queue.revoke(partition)
        self._revoked_in_round.add(partition)

    def resume(self, connection: int) -> None:
        """Publish on this connection: the reconciler has compared the streams with the journal."""
        self._verified = connection
        self._verified_again.set()
        self._verified_again = anyio.Event()
        self._wakeup.set()
        self.blocked.wake()

    def drain_acknowledged(self) -> list[tuple[int, int]]:
        """Remove and return (journal number, stream sequence) of every published row that no commit has recorded."""
        acknowledged, self._acknowledged = self._acknowledged, []
        return acknowledged

    def restore_acknowledged(self, acknowledged: Sequence[tuple[int, int]]) -> None:
        """Put back what `drain_acknowledged` returned, because the commit failed."""
        self._acknowledged = [*acknowledged, *self._acknowledged]

    async def run(self) -> None:
        """Publish until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._run_rounds)
            tasks.start_soon(self.blocked.run)

    async def _run_rounds(self) -> None:
        while True:
            self._queue.end_linger()
            while not (self._queue.due and self._is_verified()):
                self._wakeup.clear()
                await self._wakeup.wait(self._queue.linger_left_s)
                self._queue.end_linger()
            self._round_connection = self._verified
            self._revoked_in_round.clear()
            rows = self._in_flight = self.blocked.keep_back(self._queue.take(BATCH_AT_MOST))
            reach("before-publish")
            with self.publish_times.measured(self._clock):
                await self._publish_all(rows)
            self._in_flight = ()

    async def _publish_all(self, rows: Sequence[NumberedRow]) -> None:
        rows_by_stream = by_stream(rows)
        if len(rows_by_stream) == 1:
            await self._publish(*rows_by_stream.popitem())
            return
        async with anyio.create_task_group() as streams:
            for stream, of_stream in rows_by_stream.items():
                streams.start_soon(self._publish, stream, of_stream)

    async def _publish(self, stream: str, rows: Sequence[NumberedRow]) -> None:
        """Publish the rows of one stream: as a batch where that pays and works, else singly."""
        backoff, tries = Backoff(UNANSWERED_DELAYS), 0
        while len(rows := [n for n in rows if self._is_ours(n)]) >= BATCH_AT_LEAST:
            try:
                last = await self._broker.publish_batch([outgoing(numbered) for numbered in rows])
            except BrokerDeniedError:
                break  # This user may publish some of the rows: those go singly.
            except BrokerUnavailableError as error:
                self._troubles.unpublished(stream, error)
                tries += 1
                if tries >= BATCH_TRIES and await is_answering(self._broker, stream):
                    break
                await backoff.wait(self._clock, sooner=self._verified_again)
            except BrokerRefusedError as error:
                _log.info("batch refused, published singly", stream=stream, rows=len(rows), reason=str(error))
                break
            else:
                reach("after-ack")
                self._troubles.published(stream)
                first = last - len(rows) + 1
                self._note_published(zip(rows, range(first, last + 1), strict=True))
                return
        await self._publish_singly(stream, rows)

    async def _publish_singly(self, stream: str, rows: Sequence[NumberedRow]) -> None:
        """Publish the first row of each key side by side, then the second ones, until none is left."""
        rows_by_key, backoff = by_key(rows), Backoff(UNANSWERED_DELAYS)
        while heads := self._heads(rows_by_key):
            trouble: BrokerError | None = None
            unanswered = []
            for numbered, answer in zip(heads, await publish_each(self._broker, heads), strict=True):
                if isinstance(answer, int):
                    reach("after-ack")
                    self._note_published([(numbered, answer)])
                    rows_by_key[numbered.row.key].popleft()
                elif isinstance(answer, Refused):
                    if self._is_ours(numbered):
                        self.blocked.block(numbered, answer)
                elif isinstance(answer, Full):
                    trouble = answer.error
                else:
                    unanswered.append((numbered, answer))
            # When the broker answers other rows, the unanswered ones must not hold up this round and all later ones.
            if unanswered and (len(unanswered) < len(heads) or await is_answering(self._broker, stream)):
                for numbered, answer in unanswered:
                    if self._is_ours(numbered):
                        self.blocked.block(numbered, answer)
            elif unanswered:
                trouble = trouble or unanswered[0][1].error
            if trouble is None:
                self._troubles.published(stream)
            else:
                self._troubles.unpublished(stream, trouble)
                await backoff.wait(self._clock, sooner=self._verified_again)

    def _heads(self, rows_by_key: dict[str, deque[NumberedRow]]) -> list[NumberedRow]:
        """The first row of each key to publish now. The rows of a key that was blocked meanwhile go to `blocked`."""
        for key, rows in list(rows_by_key.items()):
            while rows and not self._is_ours(rows[0]):
                rows.popleft()
            if key in self.blocked:
                self.blocked.append_blocked(rows)
                rows.clear()
            if not rows:
                del rows_by_key[key]
        return [rows[0] for rows in rows_by_key.values()]

    def _is_verified(self) -> bool:
        return self._verified == self._broker.reconnects

    def _is_ours(self, numbered: NumberedRow) -> bool:
        """Whether a row of this round may still be published here. If not, its new owner finds it in the journal."""
        is_current = self._round_connection == self._broker.reconnects
        return is_current and numbered.row.partition not in self._revoked_in_round

    def _note_published(self, published: Iterable[tuple[NumberedRow, int]]) -> None:
        """Note the PubAcks, except for revoked partitions: their stream may have been replaced."""
        acknowledged = [(numbered.n, sequence) for numbered, sequence in published if self._is_ours(numbered)]
        self._acknowledged.extend(acknowledged)
        self.published += len(acknowledged)

    def _note_published_blocked(self, numbered: NumberedRow, sequence: int) -> None:
        reach("after-ack")
        self._troubles.published(numbered.row.stream)
        self._acknowledged.append((numbered.n, sequence))
        self.published += 1
