"""Taking partitions over, keeping them, and letting them go, with their unpublished rows and their effects."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import structlog

from shared.engine.effects import EffectRunner
from shared.engine.intake.partition import Partition, positions_of
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.relay import Relay
from shared.engine.recover.reconcile import Reconciler
from shared.ports.broker import BrokerDeniedError, BrokerError, BrokerRefusedError
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow, NumberedRow, Position
from shared.ports.store import Store, Transaction

KEEP_ALIVE_S = 0.1
SETTLE_POLL_S = 0.01

_log = structlog.get_logger("chorus.ownership")


class _Left(NamedTuple):
    """What the last holder of a partition left."""

    positions: dict[str, Position]
    rows: Sequence[NumberedRow]
    asked: Sequence[EffectRow]
    last_number: int


class PartitionOwnership:
    """The partitions of this process. `last_number` is how far in the journal we know whose rows are whose."""

    def __init__(
        self,
        partitions: Sequence[Partition],
        store: Store,
        relay: Relay,
        effects: EffectRunner,
        reconciler: Reconciler,
        clock: Clock,
        *,
        of: int,
        wake: Callable[[], None],
        troubles: Troubles,
    ) -> None:
        self.partitions = {partition.number: partition for partition in partitions}
        self.last_number = 0
        self._store = store
        self._relay = relay
        self._effects = effects
        self._reconciler = reconciler
        self._clock = clock
        self._of = of
        self._wake = wake
        self._troubles = troubles

    @property
    def held(self) -> list[int]:
        """The partitions this process holds."""
        return [number for number, partition in self.partitions.items() if partition.held]

    @property
    def shared(self) -> bool:
        """Whether other processes may write rows for partitions that are ours."""
        return 0 < len(self.held) < self._of

    async def settle(self, within_s: float) -> None:
        """Wait until each partition is read here or known to be another process's, but no longer than this."""
        until = self._clock.monotonic() + within_s
        while self._clock.monotonic() < until and not all(p.settled for p in self.partitions.values()):
            await self._clock.sleep(SETTLE_POLL_S)

    async def keep_alive(self) -> None:
        """Keep pins alive and pulls topped up, whatever the loop is doing."""
        while True:
            for partition in self.partitions.values():
                await partition.keep_alive()
                if partition.broken:  # Its stream may be made anew at any moment, and is to be compared first.
                    self._relay.drop(partition.number)
                if partition.wants_attention:
                    self._wake()
            self._troubles.look()
            await self._clock.sleep(KEEP_ALIVE_S)

    async def rebalance(self) -> None:
        """Begin with partitions whose pin is new, and let go of those that were lost; between batches only."""
        for partition in self.partitions.values():  # All of them first: none may publish where another has to mend.
            if partition.broken:
                async with partition.lock:
                    await self._let_go(partition)
        for partition in self.partitions.values():
            if not partition.wants_attention:
                continue
            async with partition.lock:
                if partition.leading and not partition.held:
                    await self._begin(partition)

    async def _begin(self, partition: Partition) -> None:
        """Take a partition over and read it.

        When a consumer or a permission is missing, let the partition go for a while and go on with the others. Raises
        BrokerError when the broker is away, where the others would fare no better.
        """
        connection = self._relay.connection
        try:
            await partition.check_consumers()
            await self._take_over(partition)
            await partition.begin_reading()
        except BrokerError as error:
            partition.met(error)
            if not isinstance(error, BrokerDeniedError | BrokerRefusedError):
                raise
            partition.rest()
            await self._let_go(partition)
        else:
            if self._relay.connection != connection:  # What is read now was compared on another one.
                await self._let_go(partition)

    async def release(self, numbers: Iterable[int]) -> None:
        """Let these partitions go without handing them to anybody in particular."""
        for number in numbers:
            partition = self.partitions[number]
            async with partition.lock:
                await self._let_go(partition)

    async def fetch_from_others(self) -> None:
        """Publish what other processes wrote for our partitions, and call what only the database still remembers."""
        held = self.held

        def fetch(transaction: Transaction) -> tuple[list[NumberedRow], list[EffectRow], int]:
            rows = transaction.unpublished(held, after=self.last_number)
            asked = transaction.open_effects(held, after=self._effects.last, limit=self._effects.room)
            return rows, asked, transaction.last_number()

        rows, asked, self.last_number = await self._store.read(fetch)
        self._effects.overflowed = False
        self._relay.add(rows)
        self._effects.add(asked)

    async def _take_over(self, partition: Partition) -> None:
        connection = self._relay.connection
        await self._record_marks()  # What was acknowledged last may be what was lost.
        if not await self._reconciler.check(partition.number, tuple(partition.readers)):
            self._drop(partition.number)
            await self.release(number for number in self.held if number != partition.number)
        await self._give_next_editions(partition.number)
        held = self.held

        def load(transaction: Transaction) -> _Left:
            rows = transaction.unpublished([partition.number])
            rows += transaction.unpublished(held, after=self.last_number)
            return _Left(
                positions_of(partition.number, transaction.positions()),
                sorted(rows),
                transaction.open_effects([*held, partition.number], limit=self._effects.room),
                transaction.last_number(),
            )

        left = await self._store.read(load)
        partition.positions = left.positions
        partition.held = True
        self.last_number = left.last_number
        self._relay.resume(connection)
        self._relay.take(partition.number)
        self._relay.add(left.rows)
        self._effects.add(left.asked)
        _log.debug("partition held", partition=partition.number, unpublished=len(left.rows), effects=len(left.asked))

    async def _give_next_editions(self, number: int) -> None:
        """Carry out `void` before the rows are published, in case the last owner of the partition died over it."""
        verdicts = await self._store.read(lambda transaction: transaction.refused.verdicts([number]))
        void = [n for n, verdict in verdicts if verdict == "void"]
        if void:
            await self._store.transact(lambda transaction: transaction.refused.give_next_editions(void))

    async def _record_marks(self) -> None:
        marks = tuple(self._relay.marks)
        if marks:
            await self._store.transact(lambda transaction: transaction.mark_published(marks))
            del self._relay.marks[: len(marks)]

    async def _let_go(self, partition: Partition) -> None:
        self._drop(partition.number)
        await partition.let_go()

    def _drop(self, number: int) -> None:
        self._relay.drop(number)
        self._effects.drop(number)
