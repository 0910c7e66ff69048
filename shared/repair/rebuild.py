"""Makes the database of a context anew from EVENTS, beside the old one, and puts it in its place when it is whole.

Nothing is decided again, and nothing is published or called. A decision that was never published is lost with its
database; the message that led to it counts as decided when a later one of its partition led to a published event.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

import structlog

from shared.adapters.sqlite.journal.refused import SqliteRefusedRows
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.replace import replacing
from shared.context import Context
from shared.engine.recover.rebuilt_journal import History, editions
from shared.ports.broker import Broker, BrokerError
from shared.ports.rows import StrangerRow
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.wire.streams import EVENTS

_log = structlog.get_logger("chorus.rebuild")


class Rebuilt(NamedTuple):
    """The contents of the new database, by number; `set_aside` is where the old one is now."""

    events: int
    inbox: int
    aggregates: int
    effects: int
    parked: int
    strangers: int
    set_aside: Path | None


async def rebuild(context: Context, broker: Broker, data_dir: Path, *, partitions: int, force: bool = False) -> Rebuilt:
    """Make `<data_dir>/<context>.db` from EVENTS.

    A database that is there is set aside, not deleted, and only once the new one is whole: whatever goes wrong before,
    it stays as it was.

    Raises:
        DatabaseError: a database is there and `force` is not given, a process has it open, or EVENTS has an event that
            this release cannot read.
    """
    path = data_dir / f"{context.name}.db"
    if path.exists() and not force:
        raise DatabaseError(
            f"{path} is there already. To replace it, stop the workers of {context.name} and run"
            f" chorus rebuild {context.name} --force, which sets the old one aside"
        )
    with replacing(path) as replacement:
        try:
            info = await broker.stream_info(EVENTS)
            superseded = await editions(broker, context.name)
            declared = _declared(replacement.old)
            history = History(context, partitions=partitions, superseded=superseded, declared=declared)
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
            error.add_note(f"{path} is as it was" if path.exists() else f"{path} was not made")
            raise
    counts = history.counts
    _log.info("rebuilt", context=context.name, **counts, set_aside=str(set_aside or ""))
    return Rebuilt(**counts, set_aside=set_aside)


def _declared(old: sqlite3.Connection | None) -> list[StrangerRow]:
    """The strangers that an operator declared void: only the old database knows them."""
    if old is None:
        return []
    try:
        return SqliteRefusedRows(old).declared_strangers()
    except sqlite3.Error:  # It is older than that table, or broken.
        return []
