"""What contexts remember having said, against what the streams have; what is missing there is published again."""

from collections.abc import Sequence
from pathlib import Path

import anyio
from msgspec import Struct

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.context import Context
from shared.engine.decide.routing import Routing
from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.relay import Relay
from shared.engine.recover.provenance import Provenance
from shared.engine.recover.reconcile import SUBJECTS, Reconciler, where
from shared.inspect.databases import reading
from shared.ports.broker import Broker, Stored
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS, TIMERS

COMPARED_AT_ONCE = 1_000
PUBLISHED_WITHIN_S = 60.0
"""A broker that takes nothing for so long is away."""
POLL_S = 0.01


class Difference(Struct, frozen=True, kw_only=True):
    """How the journal of one context and the streams differ, by message ids: `missing` are in the journal only.

    Publishing cannot mend what EVENTS says otherwise (`differing`), and what no journal knows (`unexplained`). Messages
    that are recorded as a stranger's are explained.
    """

    context: str
    there: int
    missing: tuple[str, ...]
    differing: tuple[str, ...]
    unexplained: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        """Whether the streams have what the journal has, and nothing else."""
        return not (self.missing or self.differing or self.unexplained)


async def compare(broker: Broker, data_dir: Path, context: str) -> Difference:
    """Compare a context's journal with the streams, beside its workers; raises DatabaseError when there is none."""
    with reading(data_dir / f"{context}.db", context) as connection:
        transaction = SqliteTransaction(connection)
        differing: list[str] = []
        unexplained: list[str] = []
        there: set[str] = set()
        batch: list[Stored] = []

        def look_at(messages: Sequence[Stored]) -> None:
            ids = [stored.headers.get(MSG_ID, f"{EVENTS} {stored.sequence}") for stored in messages]
            bodies = transaction.published.bodies(ids)
            for event_id, stored in zip(ids, messages, strict=True):
                if event_id not in bodies:
                    unexplained.append(event_id)
                elif bodies[event_id] != stored.body:
                    differing.append(event_id)
            there.update(ids)

        async for stored in broker.read(EVENTS, f"evt.{context}.>"):
            batch.append(stored)
            if len(batch) == COMPARED_AT_ONCE:
                look_at(batch)
                batch.clear()
        look_at(batch)
        timers = await where(broker, TIMERS, context)
        strangers = transaction.refused.stranger_ids()
        return Difference(
            context=context,
            there=len(there) + len(timers),
            missing=(
                *transaction.published.missing(SUBJECTS[EVENTS], there, timers=False),
                *transaction.published.missing(SUBJECTS[TIMERS], timers, timers=True),
            ),
            differing=tuple(differing),
            unexplained=tuple(event_id for event_id in unexplained if event_id not in strangers),
        )


async def publish_missing(broker: Broker, data_dir: Path, context: Context, *, partitions: int) -> int:
    """Publish what a journal has and the streams have not, in its order per key; how many rows that were.

    Workers may run meanwhile: what both publish is stored once.

    Raises:
        DatabaseError: the streams have events of the context that its database does not know.
        TimeoutError: the broker did not take them within PUBLISHED_WITHIN_S; it may have taken some.
    """
    store = await SqliteStore.open(data_dir / f"{context.name}.db", context=context.name)
    try:
        reconciler = Reconciler(store, broker, Provenance(Routing(context, partitions=partitions)))
        for stream in SUBJECTS:
            await reconciler.correct(stream)
        numbers = list(range(partitions))
        rows = await store.read(lambda transaction: transaction.unpublished(numbers))
        clock = SystemClock()
        alarms = Alarms(clock)
        troubles = Troubles(alarms, broker, context.name)
        relay = Relay(broker, clock, linger_s={}, wake=lambda: None, troubles=troubles)
        for number in numbers:
            relay.take(number)
        relay.add(rows)
        try:
            with anyio.fail_after(PUBLISHED_WITHIN_S):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(relay.run)
                    while relay.publishing:
                        await clock.sleep(POLL_S)
                    tasks.cancel_scope.cancel()
        finally:
            with anyio.CancelScope(shield=True):
                await store.transact(lambda transaction: transaction.mark_published(relay.marks))
        return len(relay.marks)
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()
