"""Catch-up: decides the earlier events that new policies ask for (`Policy.past`).

A reader goes on from its position, so it never sees what was published before the context had the policy. The database
remembers on which types of events it has caught up. `catch_up` reads the others from the beginning of EVENTS and
decides them, type by type, before the process owns a partition. The inbox makes sure that each is decided once.
"""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from functools import partial

from shared.context import Past
from shared.engine.decide.commit import Batch, Progress, commit
from shared.engine.route.incoming import Incoming, Stranger
from shared.engine.route.routing import Routing
from shared.ports.broker import Broker, Delivery, Stored
from shared.ports.clock import Clock, since_1970_ns
from shared.ports.rows import HEARD_FROM_BEGINNING
from shared.ports.store import Store, Transaction
from shared.wire.messages import filter_subject
from shared.wire.streams import EVENTS

BATCH = 1_000


def past_of(routing: Routing) -> dict[str, Past]:
    """`Policy.past` of every event, as `context.Event`, whose earlier ones the context asks for."""
    return {f"{one.source}.{one.event.__name__}": one.past for one in routing.context.policies if one.past != "none"}


async def catch_up(store: Store, broker: Broker, clock: Clock, routing: Routing) -> int:
    """Decide the events that were published before their policies existed; returns their number.

    Raises:
        BrokerError: EVENTS cannot be read now; call it again later.
        DatabaseBusyError: call it again later.
    """
    wanted = past_of(routing)
    known, is_new = await store.read(_heard)
    missed = sorted(wanted.keys() - known)
    heard = 0
    if not is_new:  # A new database has no position, so its readers begin at the beginning.
        for name in missed:
            async for batch in _batches(broker, routing, name, wanted[name]):
                await store.transact(partial(_decide, routing=routing, messages=batch, now=clock.now()))
                heard += len(batch)
    if missed:
        text = " ".join(sorted(wanted.keys() | known))
        await store.transact(lambda transaction: transaction.set_meta(HEARD_FROM_BEGINNING, text))
    return heard


def _heard(transaction: Transaction) -> tuple[set[str], bool]:
    known = transaction.meta(HEARD_FROM_BEGINNING)
    return {*(known or "").split()}, known is None and not transaction.positions()


async def _batches(broker: Broker, routing: Routing, name: str, past: Past) -> AsyncIterator[Sequence[Incoming]]:
    """All events of a name in batches; with `past` "last", only the last of each key, one partition in memory."""
    source, _, event = name.partition(".")
    for partition in range(routing.partitions):
        batch: dict[str, Incoming] = {}
        async for stored in broker.read(EVENTS, filter_subject("evt", source, event, partition)):
            message = _incoming(routing, partition, stored)
            if type(message.handling) is Stranger:
                continue  # It must not take the place of an event of its subject, or of one with its id.
            batch[stored.subject if past == "last" else stored.event_id] = message
            if past == "all" and len(batch) == BATCH:
                yield [*batch.values()]
                batch.clear()
        messages = [*batch.values()]
        for first in range(0, len(messages), BATCH):
            yield messages[first : first + BATCH]


def _incoming(routing: Routing, partition: int, stored: Stored) -> Incoming:
    return routing.delivered(EVENTS, partition, delivery_of(stored))


def delivery_of(stored: Stored) -> Delivery:
    """A message that was read directly, as a consumer delivers it."""
    return Delivery(
        sequence=stored.sequence,
        at_ns=since_1970_ns(stored.at),
        subject=stored.subject,
        headers=stored.headers,
        body=stored.body,
    )


def _decide(transaction: Transaction, routing: Routing, messages: Sequence[Incoming], now: datetime) -> None:
    """Decide without moving a position. The owners of the partitions publish the rows when they take them over."""
    batch = Batch(
        messages=messages,
        moves=(),
        progress=Progress((), {}),
        owned=(),
        last_number=transaction.last_number(),
        now=now,
    )
    commit(transaction, routing, batch)
