"""Reads the databases of contexts and the bank's books, each in one read transaction, and keeps them as values."""

import json
import sqlite3
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import msgspec

from shared.adapters.sqlite.reading import open_read_only
from shared.ports.rows import Position
from tests.ledger import Ledger, read_ledger

OURS_ALONE = 0o600


class Row(NamedTuple):
    """A row of a journal; its body is published under `subject`."""

    n: int
    event_id: str
    aggregate: str
    version: int
    subject: str
    type: str
    headers: Mapping[str, str]
    body: bytes
    partition: int
    published_seq: int | None

    @property
    def kind(self) -> str:
        """`evt`, `timer` or `dlq`."""
        return self.subject.partition(".")[0]

    @property
    def key(self) -> str:
        """The key of its subject."""
        return self.subject.rpartition(".")[2]


class Database(NamedTuple):
    """One context's database as of one moment."""

    journal: Sequence[Row]
    aggregates: Mapping[str, tuple[int, str]]
    inbox: Mapping[str, bytes]
    positions: Mapping[tuple[str, int], Position]
    effects: Sequence[str]
    parked: Sequence[str]
    skipped: Sequence[str] = ()
    answers: Mapping[str, bytes] = {}
    """The hash of each request that the context has answered, by its idempotency key."""
    strangers: Sequence[str] = ()
    """The ids of the messages that the context has on record as a stranger's."""


class Given(NamedTuple):
    """The answer of the bank under one idempotency key."""

    operation: str
    request_hash: bytes
    answer: bytes

    @property
    def is_done(self) -> bool:
        """Whether the bank did it."""
        return bool(json.loads(self.answer)["outcome"] == "done")


class Books(NamedTuple):
    """The bank's books: its ledger, and every answer by its key."""

    ledger: Ledger
    answers: Mapping[str, Given]


def problems_of(path: Path) -> Iterator[str]:
    """Find the faults of a database as a file."""
    for suffix in ("", "-wal", "-shm", ".lock"):
        file = path.with_name(path.name + suffix)
        if file.exists() and (mode := stat.S_IMODE(file.stat().st_mode)) != OURS_ALONE:
            yield f"{file.name} is open to others: {mode:o}"
    with closing(open_read_only(path)) as database:
        try:
            said = [line for (line,) in database.execute("PRAGMA integrity_check")]
            journal_mode = database.execute("PRAGMA journal_mode").fetchone()[0]
        except sqlite3.DatabaseError as error:
            yield f"{path.name} cannot be read: {error}"
            return
    if said != ["ok"]:
        yield f"{path.name} is not whole: {'; '.join(said)}"
    if journal_mode != "wal":
        yield f"{path.name} has a {journal_mode} journal"


def read_database(path: Path) -> Database:
    """One context's database, in one read transaction."""
    with closing(open_read_only(path)) as database:
        database.execute("BEGIN")
        columns = "n, event_id, aggregate, version, subject, type, headers, body, partition, published_seq"
        return Database(
            journal=[
                Row(n, event_id, aggregate, version, subject, kind, msgspec.json.decode(headers), body.encode(), p, seq)
                for n, event_id, aggregate, version, subject, kind, headers, body, p, seq in database.execute(
                    f"SELECT {columns} FROM journal ORDER BY n"
                )
            ],
            aggregates={
                name: (version, state)
                for name, version, state in database.execute("SELECT id, version, state FROM aggregates")
            },
            inbox=dict(database.execute("SELECT message_id, hash FROM inbox").fetchall()),
            positions={
                (stream, partition): Position(seq, message_id)
                for stream, partition, seq, message_id in database.execute(
                    "SELECT stream, partition, seq, message_id FROM positions"
                )
            },
            effects=[event_id for (event_id,) in database.execute("SELECT event_id FROM effects ORDER BY n")],
            parked=[message_id for (message_id,) in database.execute("SELECT message_id FROM parked ORDER BY id")],
            skipped=[message_id for (message_id,) in database.execute("SELECT message_id FROM skipped ORDER BY id")],
            answers=dict(database.execute("SELECT idempotency_key, request_hash FROM answers").fetchall()),
            strangers=[message_id for (message_id,) in database.execute("SELECT message_id FROM strangers")],
        )


def read_books(path: Path) -> Books:
    """The bank's books, in one read transaction."""
    with closing(open_read_only(path)) as database:
        database.execute("BEGIN")
        query = "SELECT idempotency_key, operation, request_hash, answer FROM answers"
        return Books(read_ledger(database), {key: Given(*given) for key, *given in database.execute(query)})
