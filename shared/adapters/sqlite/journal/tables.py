"""The tables of a context's database, and the migrations from older schema versions."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from shared.ports.store import DatabaseError

SCHEMA_VERSION: Final = 3

_SINCE_1: Final = """
CREATE TABLE meta (
  key TEXT PRIMARY KEY, value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE journal (
  n INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL UNIQUE,
  aggregate TEXT NOT NULL,
  version INTEGER NOT NULL,
  subject TEXT NOT NULL,
  type TEXT NOT NULL,
  headers TEXT NOT NULL,
  body TEXT NOT NULL,
  partition INTEGER NOT NULL,
  published_seq INTEGER,
  UNIQUE (aggregate, version)
) STRICT;
CREATE INDEX unpublished ON journal (partition, n) WHERE published_seq IS NULL;
CREATE TABLE aggregates (
  id TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER snapshot_deleted AFTER DELETE ON aggregates BEGIN
  DELETE FROM meta WHERE key = 'snapshots';
END;
CREATE TRIGGER snapshot_changed AFTER UPDATE ON aggregates BEGIN
  DELETE FROM meta WHERE key = 'snapshots';
END;
CREATE TABLE inbox (
  message_id TEXT PRIMARY KEY, hash BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE positions (
  stream TEXT NOT NULL, partition INTEGER NOT NULL, seq INTEGER NOT NULL, message_id TEXT NOT NULL,
  PRIMARY KEY (stream, partition)
) STRICT, WITHOUT ROWID;
CREATE TABLE effects (
  n INTEGER PRIMARY KEY,
  event_id TEXT NOT NULL UNIQUE,
  key TEXT NOT NULL,
  partition INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  last_error TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE parked (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  partition INTEGER NOT NULL,
  stream TEXT NOT NULL,
  seq INTEGER NOT NULL,
  at_ns INTEGER NOT NULL,
  message_id TEXT NOT NULL,
  subject TEXT NOT NULL,
  headers TEXT NOT NULL,
  body BLOB NOT NULL,
  reason TEXT NOT NULL,
  verdict TEXT NOT NULL DEFAULT '' CHECK (verdict IN ('', 'retry', 'skip')),
  who TEXT NOT NULL DEFAULT '',
  why TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX parked_by_key ON parked (key, id);
CREATE TABLE skipped (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  message_id TEXT NOT NULL,
  subject TEXT NOT NULL,
  reason TEXT NOT NULL,
  who TEXT NOT NULL,
  why TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT
"""

_SINCE_2: Final = """
CREATE TABLE refused (
  n INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  partition INTEGER NOT NULL,
  reason TEXT NOT NULL,
  seq INTEGER NOT NULL,
  since TEXT NOT NULL,
  verdict TEXT NOT NULL DEFAULT '' CHECK (verdict IN ('', 'retry', 'void')),
  who TEXT NOT NULL DEFAULT '',
  why TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE strangers (
  message_id TEXT PRIMARY KEY,
  seq INTEGER NOT NULL,
  subject TEXT NOT NULL,
  reason TEXT NOT NULL,
  at TEXT NOT NULL,
  who TEXT NOT NULL DEFAULT '',
  why TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID
"""
"""`refused`: journal rows that the broker refuses for good. If `seq` is not 0, another message has the row's id there.
`strangers`: messages in EVENTS under an id of this context that are not in its journal. An operator (`who`) declared
them, or their form shows that this context did not publish them."""

_SINCE_3: Final = """
CREATE TABLE answers (
  idempotency_key TEXT PRIMARY KEY, operation TEXT NOT NULL, request_hash BLOB NOT NULL, answer BLOB NOT NULL
) STRICT, WITHOUT ROWID
"""
"""`answers`: the answers to requests, for ever. It is the inbox of requests, so their keys are no message ids."""

INPUTS: Final = """
CREATE TABLE IF NOT EXISTS inputs (
  i INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, key TEXT NOT NULL,
  at_ns INTEGER NOT NULL, after_n INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (kind, id, type)
) STRICT
"""
"""The inputs that `chorus replay` decides again, in the order in which they were decided.

Only a worker that records them creates the table. It belongs to no schema version, so a worker of an earlier release
goes on with the database.
"""

SCHEMA: Final = f"{_SINCE_1}; {_SINCE_2}; {_SINCE_3}"

MIGRATIONS: Final[Mapping[int, str]] = {1: _SINCE_2, 2: _SINCE_3}
"""The SQL from each older schema version to the next."""


def check_owner(path: Path, owner: str | None, context: str) -> None:
    """Raise DatabaseError when the database at `path` belongs to another context; `owner` is None in a new one."""
    if owner not in (None, context):
        raise DatabaseError(f"{path}: belongs to {owner}, not to {context}; set CHORUS_DATA_DIR to another directory")
