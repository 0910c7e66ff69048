"""One unloaded durable hop: a commit of one row, a publish of one message, its PubAck, and nothing else going on."""

import sqlite3
import time
from pathlib import Path
from statistics import median

from msgspec import Struct

from shared.ports.broker import Outgoing
from shared.wire.messages import MSG_ID
from tests.bench.chain import contexts
from tests.bench.stage import stage

BODY = b'{"saga_id":"s-0","note":"' + b"x" * 200 + b'"}'


class Hop(Struct, frozen=True, kw_only=True):
    """Medians of `times` hops, in milliseconds."""

    commit_ms: float
    publish_ms: float
    hop_ms: float
    times: int


async def unloaded_hop(times: int) -> Hop:
    """Measured on a server and a database of its own."""
    commits, publishes, hops = [], [], []
    async with stage(contexts()) as place:
        database = database_at(place.directory / "hop.db")
        for number in range(times):
            began = time.perf_counter()
            database.execute("BEGIN IMMEDIATE")
            database.execute("INSERT INTO journal VALUES (?, ?, ?, ?)", (number, f"hop-{number}", "evt", BODY))
            database.execute("COMMIT")
            committed = time.perf_counter()
            await place.broker.publish(Outgoing(f"evt.alpha.AlphaPassed.h-{number}", {MSG_ID: f"hop-{number}"}, BODY))
            ended = time.perf_counter()
            commits.append(committed - began)
            publishes.append(ended - committed)
            hops.append(ended - began)
        database.close()
    in_ms = [median(measured) * 1e3 for measured in (commits, publishes, hops)]
    return Hop(commit_ms=in_ms[0], publish_ms=in_ms[1], hop_ms=in_ms[2], times=times)


def database_at(path: Path) -> sqlite3.Connection:
    """As durable as Chorus's own, with the least that a journal and a position need."""
    database = sqlite3.connect(path, isolation_level=None)
    assert database.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    database.execute("PRAGMA synchronous = FULL")
    database.execute("CREATE TABLE journal (n INTEGER PRIMARY KEY, id TEXT, subject TEXT, body BLOB) STRICT")
    database.execute("CREATE TABLE positions (stream TEXT PRIMARY KEY, seq INTEGER) STRICT, WITHOUT ROWID")
    return database
