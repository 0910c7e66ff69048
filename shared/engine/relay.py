"""Publishes the journal: per key in journal order, each row with its id, until the stream has it.

Many rows waiting go as one atomic batch, which costs the server one fsync; few go as single publishes side by side,
never two of one key at once, because the first may fail and the second not.

A server that was away may come back without rows that it had acknowledged. So nothing is published on a new connection
before somebody has compared its streams with the journal: what was to follow a lost row would be there before it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import anyio
import structlog

from shared.engine.backoff import Backoff
from shared.engine.bell import Bell
from shared.engine.failpoints import reach
from shared.engine.outbox import Outbox
from shared.engine.tables import NumberedRow
from shared.messages import MSG_ID
from shared.ports import Broker, BrokerError, BrokerRefusedError, BrokerUnavailableError, Clock, Outgoing, Published
from shared.streams import STREAM_OF

BATCH_AT_LEAST = 12
"""A batch costs the server as much as 8 single publishes, 12 on a busy disk, however few its rows are (measured)."""
BATCH_AT_MOST = 1_000
WAITING_AT_MOST = 20_000
"""Past this many rows the loop takes no new messages until the broker has caught up."""
STUCK_RETRY_S = 30.0

_log = structlog.get_logger("chorus.relay")


class Relay:
    """One per process. `marks` are (journal number, stream sequence) for the loop to record with its next commit."""

    def __init__(
        self, broker: Broker, clock: Clock, *, linger_s: Mapping[str, float], wake: Callable[[], None]
    ) -> None:
        self.marks: list[tuple[int, int]] = []
        self.published = 0
        self.stuck: dict[str, str] = {}
        """Keys whose next row the broker refuses for good, and why."""
        self._broker = broker
        self._clock = clock
        self._wake = wake
        self._work = Bell()
        self._outbox = Outbox(linger_s, self._work.ring)
        self._in_hand = 0
        self._offers_again = False
        self._sound = broker.reconnects
        """The connection on which the streams are known to have what the journal says they have."""
        self._found_sound = anyio.Event()
        self._connection = self._sound
        self._left: set[int] = set()
        """Partitions that were left to others since the rows in hand were taken, be they ours again or not."""

    @property
    def backlog(self) -> int:
        """How many rows are not in the stream yet."""
        return len(self._outbox) + self._in_hand

    @property
    def publishing(self) -> bool:
        """Whether rows are on their way; those that the broker refuses for good are not."""
        return bool(self._outbox.due or self._outbox.lingering or self._in_hand)

    @property
    def connection(self) -> int:
        """Which connection there is now; that it is sound is to be told by `resume`."""
        return self._broker.reconnects

    @property
    def full(self) -> bool:
        """Whether the loop should rather wait."""
        return self._outbox.due >= WAITING_AT_MOST

    def take(self, partition: int) -> None:
        """Publish a partition's rows from now on."""
        self._outbox.take(partition)

    def add(self, rows: Iterable[NumberedRow]) -> None:
        """Publish those of our partitions after all that was added before under their keys."""
        self._outbox.add(rows)

    def drop(self, partition: int) -> None:
        """Leave a partition's rows to the process that holds it now."""
        self._outbox.drop(partition)
        self._left.add(partition)

    def resume(self, connection: int) -> None:
        """The streams were compared with the journal on this connection."""
        self._sound = connection
        self._found_sound.set()
        self._found_sound = anyio.Event()
        self._work.ring()

    async def run(self) -> None:
        """Publish for ever."""
        while True:
            while not (self._outbox.due or self._offers_again) or self._sound != self._broker.reconnects:
                self._work.silence()
                await self._work.wait()
            self._connection = self._sound
            self._left.clear()
            if self._offers_again:
                self._offers_again = False
                self.stuck.clear()
                self._outbox.offer_again()
            rows = self._outbox.next(BATCH_AT_MOST)
            self._in_hand = len(rows)
            reach("before-publish")
            by_stream: dict[str, list[NumberedRow]] = {}
            for numbered in rows:
                by_stream.setdefault(STREAM_OF[numbered.row.subject.split(".", 1)[0]], []).append(numbered)
            if len(by_stream) == 1:
                await self._publish(*next(iter(by_stream.items())))
            else:
                async with anyio.create_task_group() as streams:
                    for stream, of_stream in by_stream.items():
                        streams.start_soon(self._publish, stream, of_stream)
            self._in_hand = 0
            self._wake()

    async def retry_stuck(self) -> None:
        """Offer what was refused for good once more, now and then: the refusal may have been mended."""
        while True:
            await self._clock.sleep(STUCK_RETRY_S)
            if self._outbox.set_aside:
                self._offers_again = True
                self._work.ring()

    async def _publish(self, stream: str, rows: Sequence[NumberedRow]) -> None:
        backoff = Backoff()
        while len(rows := [n for n in rows if self._has(n)]) >= BATCH_AT_LEAST and not self.stuck:
            try:
                last = await self._broker.publish_batch([_outgoing(numbered) for numbered in rows])
            except BrokerUnavailableError as error:
                _log.warning("batch unanswered, published again", stream=stream, rows=len(rows), reason=str(error))
                await self._wait(backoff)
            except BrokerRefusedError as error:
                _log.info("batch refused, published singly", stream=stream, rows=len(rows), reason=str(error))
                break
            else:
                reach("after-ack")
                first = last - len(rows) + 1
                self._mark(zip(rows, range(first, last + 1), strict=True))
                return
        await self._publish_singly(stream, rows)

    async def _publish_singly(self, stream: str, rows: Sequence[NumberedRow]) -> None:
        """Side by side, but of each key one after the other."""
        chains: dict[str, deque[NumberedRow]] = {}
        for numbered in rows:
            chains.setdefault(numbered.row.key, deque()).append(numbered)
        backoff = Backoff()
        while heads := self._heads(chains):
            answers: Sequence[Published | BrokerError]
            try:
                answers = await self._broker.publish_each([_outgoing(numbered) for numbered in heads])
            except BrokerError as error:
                answers = [error] * len(heads)
            unanswered = False
            for numbered, answer in zip(heads, answers, strict=True):
                if await self._is_published(stream, numbered, answer):
                    chains[numbered.row.key].popleft()
                else:
                    unanswered = unanswered or numbered.row.key not in self.stuck
            if unanswered:
                await self._wait(backoff)

    def _heads(self, chains: dict[str, deque[NumberedRow]]) -> list[NumberedRow]:
        """The first row of each key that is to be published now; `chains` keeps those that still are."""
        for key, chain in list(chains.items()):
            while chain and not self._has(chain[0]):
                chain.popleft()
            if key in self.stuck:
                self._outbox.refused(chain)
                chain.clear()
            if not chain:
                del chains[key]
        return [chain[0] for chain in chains.values()]

    async def _is_published(self, stream: str, numbered: NumberedRow, answer: Published | BrokerError) -> bool:
        """Whether the stream has the row now; when it never will, its key is stuck."""
        try:
            if isinstance(answer, BrokerError):
                raise answer
            if answer.duplicate and not await self._is_ours(stream, answer.sequence, _outgoing(numbered)):
                self._refuse(numbered, f"{stream} has other content under the id {numbered.row.event_id}")
                return False
        except BrokerRefusedError as error:
            if error.code == STREAM_FULL:
                _log.error("stream is full", stream=stream, waiting=self.backlog)
            else:
                self._refuse(numbered, str(error))
            return False
        except BrokerError as error:
            _log.debug("publish unanswered, sent again", id=numbered.row.event_id, reason=str(error))
            return False
        reach("after-ack")
        self._mark([(numbered, answer.sequence)])
        return True

    def _has(self, numbered: NumberedRow) -> bool:
        """Whether a row in hand is ours still; if not, whoever takes its partition over finds it in the journal."""
        return self._connection == self._broker.reconnects and numbered.row.partition not in self._left

    async def _wait(self, backoff: Backoff) -> None:
        """Back off, though not beyond the moment at which a new connection has been looked at."""
        found_sound = self._found_sound
        with anyio.move_on_after(backoff.next_s()):
            await found_sound.wait()

    async def _is_ours(self, stream: str, sequence: int, message: Outgoing) -> bool:
        stored = await self._broker.get(stream, sequence)
        if stored is None:
            return True  # A fired timer leaves its stream; its id proves that it was there.
        return stored.headers.get(MSG_ID) == message.headers[MSG_ID] and stored.body == message.body

    def _refuse(self, numbered: NumberedRow, reason: str) -> None:
        self.stuck[numbered.row.key] = reason
        _log.error(
            "publish refused; the key waits", id=numbered.row.event_id, subject=numbered.row.subject, reason=reason
        )

    def _mark(self, published: Iterable[tuple[NumberedRow, int]]) -> None:
        """Note where these are, but for those that were left meanwhile: the stream may be another one by now."""
        marks = [(numbered.n, sequence) for numbered, sequence in published if self._has(numbered)]
        self.marks.extend(marks)
        self.published += len(marks)


STREAM_FULL = 10077


def _outgoing(numbered: NumberedRow) -> Outgoing:
    row = numbered.row
    return Outgoing(row.subject, row.headers, row.body)
