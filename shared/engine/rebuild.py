"""Makes the database of a context anew from EVENTS, beside the old one, and puts it in its place when it is whole.

Nothing is decided again, and nothing is published or called. A decision that was never published is lost with its
database; the message that led to it counts as decided when a later one of its partition led to a published event.
"""

import contextlib
import errno
import os
import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite_schema import DatabaseError
from shared.context import Context
from shared.engine.history import History, editions
from shared.engine.store import Store
from shared.ports import Broker
from shared.streams import EVENTS

PARTS: Final = ("", "-wal", "-shm", ".lock")
"""The ends of the names of a database's files."""

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
        DatabaseError: a database is there and `force` is not given, a worker uses it, or EVENTS has an event that this
            release cannot read.
    """
    path = data_dir / f"{context.name}.db"
    if path.exists():
        if not force:
            raise DatabaseError(f"{path} is there; stop its worker and use --force to set it aside and make it anew")
        _check_unused(path)
    beside = path.with_name(f"{path.name}.rebuilding")
    _remove(beside)
    info = await broker.stream_info(EVENTS)
    history = History(context, partitions=partitions, superseded=await editions(broker, context.name))
    async for stored in broker.read(EVENTS, "evt.>", up_to=info.last_sequence):
        history.add(stored)
    store = await Store.open(beside, context=context.name)
    try:
        await store.transact(history.write)
        await store.transact(lambda transaction: transaction.set_meta(f"created {EVENTS}", info.created))
    finally:
        await store.close()
    set_aside = _swap(beside, path)
    counts = history.counts
    rebuilt = Rebuilt(**counts, set_aside=set_aside)
    _log.info("rebuilt", context=context.name, **counts, set_aside=str(set_aside or ""))
    return rebuilt


def _check_unused(path: Path) -> None:
    """Raise DatabaseError when a process has the file open; empties its write-ahead log into it when none has."""
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            (mode,) = connection.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise DatabaseError(f"{path}: a process has it open; stop the workers of the context first") from error
    except sqlite3.DatabaseError:
        return  # It is broken, which may be why it is to be rebuilt.
    else:
        if mode != "delete":
            raise DatabaseError(f"{path}: a process has it open; stop the workers of the context first")


def _swap(beside: Path, path: Path) -> Path | None:
    """Put the new file in the place of the old one, and make both survive a power cut; where the old one is now."""
    _sync(beside)
    aside = None
    if path.exists():
        aside = path.with_name(f"{path.name}.{SystemClock().now():%Y%m%dT%H%M%S%f}.aside")
        for part in ("-wal", "-shm"):  # They belong to the old file: SQLite must not find them beside the new one.
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + part).rename(aside.with_name(aside.name + part))
        os.link(path, aside)
    beside.replace(path)
    _remove(beside)
    _sync(path.parent)
    return aside


def _remove(path: Path) -> None:
    for part in PARTS:
        path.with_name(path.name + part).unlink(missing_ok=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:  # Some file systems cannot sync a directory.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(descriptor)
