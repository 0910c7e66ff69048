"""Rebuilds the database of a context from EVENTS in a file of its own, and puts it in place once it is complete.

The rebuild decides nothing again, publishes nothing and calls nothing. A decision that was never published is lost with
its database. The message that led to it counts as decided when a later message of its partition led to a published
event.
"""

from pathlib import Path
from typing import NamedTuple

import structlog

from shared.context import Context
from shared.engine.recover.editions import editions, timer_editions
from shared.engine.recover.rebuilt_journal import History
from shared.ports.broker import Broker, BrokerError
from shared.ports.databases import Databases
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.wire.streams import EVENTS

_log = structlog.get_logger("chorus.rebuild")


class Rebuilt(NamedTuple):
    """The number of rows of each kind in the new database; `set_aside` is the new path of the old database."""

    events: int
    inbox: int
    aggregates: int
    effects: int
    parked: int
    strangers: int
    set_aside: Path | None


async def rebuild(
    context: Context, broker: Broker, databases: Databases, *, partitions: int, force: bool = False
) -> Rebuilt:
    """Rebuild the database of a context from EVENTS.

    With `force`, an existing database is renamed, not deleted, once the new one is complete. After an error the
    existing database is unchanged.

    Raises:
        DatabaseError: a database exists and `force` is not given, a process has it open, or EVENTS has an event that
            this release cannot read.
    """
    place = databases.place(context.name)
    if databases.exists(context.name) and not force:
        raise DatabaseError(
            f"{place} is there already; to replace it, stop the workers of {context.name} and run"
            f" chorus rebuild {context.name} --force, which sets the old one aside"
        )
    with databases.replacing(context.name) as replacement:
        try:
            info = await broker.stream_info(EVENTS)
            superseded = await editions(broker, context.name)
            timers = await timer_editions(broker, context.name)
            declared = replacement.declared_strangers()
            history = History(context, partitions=partitions, superseded=superseded, timers=timers, declared=declared)
            async for stored in broker.read(EVENTS, "evt.>", up_to=info.last_sequence):
                history.add(stored)
            store = await replacement.open_new()
            try:
                await store.transact(history.write)
                await store.transact(lambda transaction: transaction.set_meta(f"created {EVENTS}", info.created))
            finally:
                await store.close()
            set_aside = replacement.put_in_place()
        except (BrokerError, DatabaseError, DatabaseBusyError, OSError) as error:
            is_there = databases.exists(context.name)
            error.add_note(f"{place} is unchanged" if is_there else f"{place} was not created")
            raise
    counts = history.counts
    _log.info("rebuilt", context=context.name, **counts, set_aside=str(set_aside or ""))
    return Rebuilt(**counts, set_aside=set_aside)
