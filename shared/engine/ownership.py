"""Which partitions this process owns: it takes over free ones, keeps its own, and releases what it has lost.

Rows and effects go with their partition. Two processes may believe for a moment that they own the same partition; the
compare-and-set of the positions in the commit then lets only one of them decide (fencing).
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog

from shared.engine.effects import IN_MEMORY_AT_MOST, EffectRunner
from shared.engine.intake.partition import Partition, positions_of
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.relay import Relay
from shared.engine.recover.reconcile import Reconciler
from shared.ports.broker import BrokerDeniedError, BrokerError, BrokerRefusedError
from shared.ports.clock import Clock
from shared.ports.rows import EffectRow, NumberedRow, Position, RefusedRow
from shared.ports.store import Store, Transaction
from shared.wire.streams import EVENTS

KEEP_ALIVE_S = 0.1
WATCH_EVENTS_S = 0.5
"""How often a context that hears no event checks whether EVENTS is still the same stream."""
OWNED_POLL_S = 0.01

_log = structlog.get_logger("chorus.ownership")


class _LeftBehind(NamedTuple):
    """The rows and effects that the last owner of a partition left, and new rows for the partitions that we own."""

    positions: dict[str, Position]
    rows: Sequence[NumberedRow]
    id_conflicts: Sequence[RefusedRow]
    effects: Sequence[EffectRow]
    last_number: int


class PartitionOwnership:
    """The partitions of one process. `last_number` is the last journal row whose owner is known here."""

    def __init__(
        self,
        partitions: Sequence[Partition],
        store: Store,
        relay: Relay,
        effects: EffectRunner,
        reconciler: Reconciler,
        clock: Clock,
        *,
        partitions_in_all: int,
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
        self._partitions_in_all = partitions_in_all
        self._wake = wake
        self._troubles = troubles
        self._looked_at = float("-inf")

    @property
    def owned(self) -> list[int]:
        """The numbers of the partitions that this process owns."""
        return [number for number, partition in self.partitions.items() if partition.is_owned]

    def owns(self, number: int) -> bool:
        """Whether this process owns the partition with this number."""
        partition = self.partitions.get(number)
        return partition is not None and partition.is_owned

    @property
    def wants_rebalance(self) -> bool:
        """Whether `rebalance` has anything to do."""
        return self._effects.has_room_again or any(p.wants_rebalance for p in self.partitions.values())

    @property
    def is_shared(self) -> bool:
        """Whether other processes own the rest of the context's partitions, and may write rows for ours."""
        return 0 < len(self.owned) < self._partitions_in_all

    @property
    def may_answer(self) -> bool:
        """Whether the database has been compared with EVENTS: by us, or by the process that owns the partitions."""
        return bool(self.owned) or all(partition.has_known_owner for partition in self.partitions.values())

    async def wait_until_owned(self, within_s: float) -> None:
        """Wait, at most this long, until each partition is read here or known to be owned by another process."""
        until = self._clock.monotonic() + within_s
        while self._clock.monotonic() < until and not all(p.has_known_owner for p in self.partitions.values()):
            await self._clock.sleep(OWNED_POLL_S)

    async def keep_alive(self) -> None:
        """Refresh pins and pulls until cancelled, independently of the loop."""
        while True:
            for partition in self.partitions.values():
                await partition.keep_alive()
                if partition.is_broken:  # Its stream may be recreated at any moment; compare it before publishing.
                    self._relay.revoke(partition.number)
                if partition.wants_rebalance:
                    self._wake()
            self._troubles.check_permissions()
            blocked = self._relay.blocked
            self._troubles.check_backlog(blocked.refused, is_full=blocked.is_full)
            await self._watch_events()
            await self._clock.sleep(KEEP_ALIVE_S)

    async def _watch_events(self) -> None:
        """Compare again when EVENTS was replaced and no reader of EVENTS would notice."""
        now = self._clock.monotonic()
        has_reader = any(EVENTS in partition.readers for partition in self.partitions.values())
        if has_reader or not self.owned or now - self._looked_at < WATCH_EVENTS_S:
            return
        self._looked_at = now
        with suppress(BrokerError):  # Publishing raises the alarm.
            if await self._reconciler.has_changed():
                self.compare_again()

    async def rebalance(self) -> None:
        """Release lost partitions and take over new ones. The loop calls it between batches.

        Raises:
            BrokerError: the broker is away, so no partition can be taken over now.
        """
        # Release all broken partitions before reconciling any of them: a reconciled stream must not change meanwhile.
        for partition in self.partitions.values():
            if partition.is_broken:
                async with partition.lock:
                    await self._release(partition)
        for partition in self.partitions.values():
            if partition.wants_rebalance:
                async with partition.lock:
                    if partition.is_leading and not partition.is_owned:
                        await self._acquire(partition)
        if self._effects.has_room_again:
            await self.load_rows_of_others()

    def compare_again(self) -> None:
        """Compare the streams with the journal before the next publication: one is missing or was replaced."""
        for number in self.owned:
            self.partitions[number].must_be_compared = True
            self._relay.revoke(number)
        self._wake()

    async def release(self, numbers: Iterable[int]) -> None:
        """Release these partitions. Any process may take them over, this one as well."""
        for number in numbers:
            partition = self.partitions[number]
            async with partition.lock:
                await self._release(partition)

    async def load_rows_of_others(self) -> None:
        """Load the rows that other processes wrote for our partitions, and the effects that memory had no room for."""
        owned = self.owned
        after, limit = self._effects.to_load

        def load(transaction: Transaction) -> tuple[list[NumberedRow], list[EffectRow], int]:
            rows = transaction.unpublished(owned, after=self.last_number)
            effects = transaction.open_effects(owned, after=after, limit=limit)
            return rows, effects, transaction.last_number()

        rows, effects, self.last_number = await self._store.read(load)
        self._relay.add(rows)
        self._effects.add_loaded(effects, limit=limit)

    async def _acquire(self, partition: Partition) -> None:
        """Take a partition over and read it.

        When a consumer or a permission is missing, release the partition for a while and go on with the next one.
        Raises BrokerError when the broker is away, which would fail the next one too.
        """
        connection = self._relay.connection
        try:
            await partition.check_consumers()
            await self._take_over(partition)
            await partition.begin_reading()
        except BrokerError as error:
            partition.failed(error)
            if not isinstance(error, BrokerDeniedError | BrokerRefusedError):
                raise
            partition.pause_takeovers()
            await self._release(partition)
        else:
            if self._relay.connection != connection:  # The streams were compared on the connection before this one.
                await self._release(partition)

    async def _take_over(self, partition: Partition) -> None:
        connection = self._relay.connection
        await self._record_acknowledged()  # The rows that were acknowledged last are the likeliest to be lost.
        if not await self._reconciler.check(partition.number, tuple(partition.readers)):
            # Reconciling deleted the positions of all partitions of the stream, so all of them begin again.
            self._revoke(partition.number)
            await self.release(number for number in self.owned if number != partition.number)
        await self._give_next_editions(partition.number)
        owned = self.owned

        def load(transaction: Transaction) -> _LeftBehind:
            rows = transaction.unpublished([partition.number])
            rows += transaction.unpublished(owned, after=self.last_number)
            return _LeftBehind(
                positions_of(partition.number, transaction.positions()),
                sorted(rows),
                transaction.refused.with_id_conflicts([partition.number]),
                transaction.open_effects([*owned, partition.number], limit=IN_MEMORY_AT_MOST),
                transaction.last_number(),
            )

        left = await self._store.read(load)
        partition.positions = left.positions
        partition.is_owned = True
        self.last_number = left.last_number
        self._relay.resume(connection)
        self._relay.assign(partition.number)
        self._relay.blocked.expect(left.id_conflicts)
        self._relay.add(left.rows)
        self._effects.add_loaded(left.effects, limit=IN_MEMORY_AT_MOST)
        _log.debug("took over", partition=partition.number, unpublished=len(left.rows), effects=len(left.effects))

    async def _give_next_editions(self, number: int) -> None:
        """Carry out `void` before the rows are published: the last owner may have died before it could."""
        verdicts = await self._store.read(lambda transaction: transaction.refused.verdicts([number]))
        void = [n for n, verdict in verdicts if verdict == "void"]
        if void:
            await self._store.transact(lambda transaction: transaction.refused.give_next_editions(void))

    async def _record_acknowledged(self) -> None:
        acknowledged = self._relay.drain_acknowledged()
        if not acknowledged:
            return
        try:
            await self._store.transact(lambda transaction: transaction.mark_published(acknowledged))
        except BaseException:
            self._relay.restore_acknowledged(acknowledged)
            raise

    async def _release(self, partition: Partition) -> None:
        self._revoke(partition.number)
        await partition.release()

    def _revoke(self, number: int) -> None:
        self._relay.revoke(number)
        self._effects.revoke(number)
