"""Rebuilds the database of a context from EVENTS in a file of its own, and puts it in place once it is complete.

The rebuild decides nothing again, publishes nothing and calls nothing. A decision that was never published is lost with
its database. The message that led to it counts as decided when a later message of its partition led to a published
event.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

import structlog

from shared.adapters.sqlite.journal.refused import SqliteRefusedRows
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.replace import replacing
from shared.context import Context
from shared.engine.recover.editions import editions, timer_editions
from shared.engine.recover.rebuilt_journal import History
from shared.ports.broker import Broker, BrokerError
from shared.ports.rows import StrangerRow
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


async def rebuild(context: Context, broker: Broker, data_dir: Path, *, partitions: int, force: bool = False) -> Rebuilt:
    """Rebuild `<data_dir>/<context>.db` from EVENTS.

    With `force`, an existing database is renamed, not deleted, once the new one is complete. After an error the
    existing database is unchanged.

    Raises:
        DatabaseError: a database exists and `force` is not given, a process has it open, or EVENTS has an event that
            this release cannot read.
    """
    path = data_dir / f"{context.name}.db"
    if path.exists() and not force:
        raise DatabaseError(
            f"{path} is there already; to replace it, stop the workers of {context.name} and run"
            f" chorus rebuild {context.name} --force, which sets the old one aside"
        )
    with replacing(path) as replacement:
        try:
            info = await broker.stream_info(EVENTS)
            superseded = await editions(broker, context.name)
            timers = await timer_editions(broker, context.name)
            declared = _declared(replacement.old)
            history = History(context, partitions=partitions, superseded=superseded, timers=timers, declared=declared)
            async for stored in broker.read(EVENTS, "evt.>", up_to=info.last_sequence):
                history.add(stored)
            store = await SqliteStore.open(replacement.new, context=context.name)
            try:
                await store.transact(history.write)
                await store.transact(lambda transaction: transaction.set_meta(f"created {EVENTS}", info.created))
            finally:
                await store.close()
            set_aside = replacement.put_in_place()
        except (BrokerError, DatabaseError, DatabaseBusyError, OSError) as error:
            error.add_note(f"{path} is unchanged" if path.exists() else f"{path} was not created")
            raise
    counts = history.counts
    _log.info("rebuilt", context=context.name, **counts, set_aside=str(set_aside or ""))
    return Rebuilt(**counts, set_aside=set_aside)


def _declared(old: sqlite3.Connection | None) -> list[StrangerRow]:
    """The strangers that an operator declared void. Only the old database has them."""
    if old is None:
        return []
    try:
        return SqliteRefusedRows(old).declared_strangers()
    except sqlite3.Error:  # The old database is broken, or older than that table.
        return []
