"""Folds EVENTS into a second database of a group, by the same code as its process, with nothing that could publish."""

from typing import Final

from shared.engine.recover.catch_up import delivery_of
from shared.groups.batch import Batches
from shared.groups.transact import Transact
from shared.ports.broker import Broker, Delivery
from shared.ports.views import Known
from shared.wire.streams import EVENTS

BATCH_AT_MOST: Final = 4_000


async def fold_up_to(transact: Transact, batches: Batches, broker: Broker, known: Known, up_to: int) -> Known:
    """Fold the events behind `known` up to a sequence; each batch commits with its position.

    `known.created` is the identity of EVENTS. Returns the position.

    Raises:
        BrokerError: what was folded before stays.
    """
    batch: list[Delivery] = []

    async def fold() -> None:
        nonlocal known
        deliveries, before = batch.copy(), known
        batch.clear()
        known = (await transact(lambda transaction: batches.fold(transaction, deliveries, before))).known

    if known.sequence >= up_to:
        return known
    async for stored in broker.read(EVENTS, "evt.>", first=known.sequence + 1, up_to=up_to):
        batch.append(delivery_of(stored))
        if len(batch) == BATCH_AT_MOST:
            await fold()
    if batch:
        await fold()
    return known
