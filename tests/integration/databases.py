"""Reads, copies, loses and rebuilds the databases of workers, and forges events in their names."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from shared.ports.broker import Outgoing
from shared.repair.rebuild import Rebuilt, rebuild
from shared.wire.messages import CAUSATION_ID, MSG_ID
from shared.wire.streams import EVENTS
from tests.integration.engine import PARTITIONS, Counter
from tests.integration.till import till

PARKED = (
    "SELECT key, partition, stream, seq, at_ns, message_id, subject, headers, body, reason, verdict, who, why"
    " FROM parked ORDER BY key, id"
)
SKIPPED = "SELECT key, message_id, subject, reason, who, why, at FROM skipped ORDER BY id"
STATE = {
    "parked": PARKED,
    "skipped": SKIPPED,
    "inbox": "SELECT * FROM inbox ORDER BY message_id",
    "aggregates": "SELECT * FROM aggregates ORDER BY id",
    "journal": "SELECT event_id, subject, headers, body FROM journal WHERE subject NOT LIKE 'dlq.%' ORDER BY event_id",
}


def copy(source: Path, target: Path) -> None:
    """Copy a closed database."""
    assert not source.with_name(f"{source.name}-wal").exists()
    shutil.copy(source, target)


def tables(path: Path) -> dict[str, Any]:
    """The decided state in a closed database."""
    with closing(sqlite3.connect(path)) as database:
        columns = "event_id, aggregate, version, subject, type, headers, body, partition"
        return {
            "aggregates": database.execute("SELECT id, version, state FROM aggregates ORDER BY id").fetchall(),
            "journal": database.execute(f"SELECT {columns} FROM journal ORDER BY event_id").fetchall(),
            "published": database.execute(
                "SELECT event_id, published_seq FROM journal WHERE subject LIKE 'evt.%' ORDER BY event_id"
            ).fetchall(),
            "effects": database.execute("SELECT event_id FROM effects ORDER BY event_id").fetchall(),
            "inbox": dict(database.execute("SELECT message_id, hash FROM inbox").fetchall()),
            "answers": {key: tuple(row) for key, *row in database.execute("SELECT * FROM answers")},
            "causes": {
                cause
                for (cause,) in database.execute("SELECT json_extract(headers, '$.\"Causation-Id\"') FROM journal")
            },
        }


def state(counter: Counter) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that a rebuild must give again, by table."""
    return {what: counter.rows(query) for what, query in STATE.items()}


async def make_anew(counter: Counter, *, force: bool = False) -> Rebuilt:
    """Rebuild the till's database from EVENTS."""
    return await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=force)


async def lose(counter: Counter, older: Path | None) -> None:
    """Lose the database, or replace it by an older copy; purge the dead letters as time would."""
    path = counter.directory / "till.db"
    if older is None:
        path.unlink()
    else:
        shutil.copy(older, path)
    await counter.broker.api("$JS.API.STREAM.PURGE.DEAD_LETTERS", b"")


async def forge(counter: Counter, event_id: str, *, key: str, kind: str = "Rung", changes: bytes = b"") -> None:
    """Publish a forged event of a till: its last one of this kind under another key and id."""
    *_, last = [stored async for stored in counter.broker.read(EVENTS, "evt.till.Rung.>")]
    named = last.subject.rpartition(".")[2].encode()
    headers = {name: value for name, value in last.headers.items() if name == MSG_ID or not name.startswith("Nats-")}
    headers |= {MSG_ID: event_id, CAUSATION_ID: "m-forged"}
    await counter.broker.publish(
        Outgoing(f"evt.till.{kind}.{key}", headers, (changes or last.body).replace(named, key.encode()))
    )
