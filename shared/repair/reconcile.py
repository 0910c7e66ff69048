"""Compares the journal of a context with the streams, and publishes again what the streams have lost."""

from collections.abc import Sequence

import anyio
from msgspec import Struct

from shared.context import Context
from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import Troubles
from shared.engine.publish.relay import Relay
from shared.engine.recover.provenance import Provenance
from shared.engine.recover.reconcile import SUBJECTS, Reconciler, sequences_by_id
from shared.engine.route.routing import Routing
from shared.ports.broker import Broker, BrokerUnavailableError, Stored
from shared.ports.clock import Clock
from shared.ports.databases import Databases
from shared.wire.streams import EVENTS, TIMERS

COMPARED_AT_ONCE = 1_000
PUBLISHED_WITHIN_S = 60.0
"""A broker that acknowledges nothing for this long counts as away."""
POLL_S = 0.01


class Difference(Struct, frozen=True, kw_only=True):
    """How the journal of one context and the streams differ, by message ids. `there` counts messages in the streams.

    `missing` are in the journal only. `differing` have another body in EVENTS. `unexplained` are in EVENTS, in no
    journal, and not recorded as a stranger's. Publishing repairs only `missing`.
    """

    context: str
    there: int
    missing: tuple[str, ...]
    differing: tuple[str, ...]
    unexplained: tuple[str, ...]

    @property
    def is_none(self) -> bool:
        """Whether the streams have exactly what the journal has."""
        return not (self.missing or self.differing or self.unexplained)


async def compare(broker: Broker, databases: Databases, context: str) -> Difference:
    """Compare the journal of a context with the streams; workers may run. Raises DatabaseError without a database."""
    with databases.reading(context) as reader:
        differing: list[str] = []
        unexplained: list[str] = []
        there: set[str] = set()
        batch: list[Stored] = []

        def check(messages: Sequence[Stored]) -> None:
            ids = [stored.event_id for stored in messages]
            bodies = reader.bodies(ids)
            for event_id, stored in zip(ids, messages, strict=True):
                if bodies.get(event_id, stored.body) != stored.body:
                    differing.append(event_id)
            unexplained.extend(stored.event_id for stored in reader.unexplained(messages))
            there.update(ids)

        async for stored in broker.read(EVENTS, f"evt.{context}.>"):
            batch.append(stored)
            if len(batch) == COMPARED_AT_ONCE:
                check(batch)
                batch.clear()
        check(batch)
        timers = await sequences_by_id(broker, TIMERS, context)
        return Difference(
            context=context,
            there=len(there) + len(timers),
            missing=(
                *reader.missing(SUBJECTS[EVENTS], there, timers=False),
                *reader.missing(SUBJECTS[TIMERS], timers, timers=True),
            ),
            differing=tuple(differing),
            unexplained=tuple(unexplained),
        )


async def publish_missing(
    broker: Broker,
    databases: Databases,
    clock: Clock,
    context: Context,
    *,
    partitions: int,
    within_s: float = PUBLISHED_WITHIN_S,
) -> int:
    """Publish the journal rows that the streams lack, in journal order per key; return how many they were.

    Workers may run meanwhile: the server stores once what both publish.

    Raises:
        DatabaseError: the streams have events of the context that its database lacks.
        BrokerUnavailableError: it did not acknowledge all rows within `within_s`, and may have stored some.
    """
    store = await databases.open(context.name)
    try:
        reconciler = Reconciler(store, broker, Provenance(Routing(context, partitions=partitions)))
        for stream in SUBJECTS:
            await reconciler.correct(stream)
        numbers = list(range(partitions))
        rows = await store.read(lambda transaction: transaction.unpublished(numbers))
        conflicts = await store.read(lambda transaction: transaction.refused.with_id_conflicts(numbers))
        alarms = Alarms(clock)
        troubles = Troubles(alarms, broker, context.name)
        relay = Relay(broker, clock, linger_s={}, troubles=troubles)
        for number in numbers:
            relay.assign(number)
        relay.blocked.expect(conflicts)
        relay.add(rows)
        try:
            with anyio.fail_after(within_s):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(relay.run)
                    while relay.is_publishing:
                        await clock.sleep(POLL_S)
                    tasks.cancel_scope.cancel()
        except TimeoutError as error:
            why = "; ".join(alarm.reason for alarm in alarms.raised) or "the broker is slow"
            raise BrokerUnavailableError(
                f"{relay.backlog} rows of {context.name} had no acknowledgement within {within_s:g} s ({why}); mend the"
                " cause, and reconcile again"
            ) from error
        finally:
            with anyio.CancelScope(shield=True):
                acknowledged = relay.drain_acknowledged()
                await store.transact(lambda transaction: transaction.mark_published(acknowledged))
        return relay.published
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()
