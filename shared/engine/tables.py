"""What a context's database holds: its tables, and their rows as values."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

SCHEMA_VERSION: Final = 2

SNAPSHOTS: Final = "snapshots"
"""The fact in `meta` that every snapshot is there, and in which shape; triggers forget it when one is taken away."""

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
"""`refused` has the journal rows that the broker refuses for good; another message has the row's id at `seq`, if not 0.
`strangers` has the messages in EVENTS that carry an id of this context and are not in its journal: an operator (`who`)
declared them void, or their form gave them away."""

SCHEMA: Final = f"{_SINCE_1}; {_SINCE_2}"

MIGRATIONS: Final[Mapping[int, str]] = {1: _SINCE_2}
"""What makes a database of each older schema version one of the next version."""


class JournalRow(NamedTuple):
    """One message of the outbox; `aggregate` and `version` say which fact of which aggregate it is."""

    event_id: str
    aggregate: str
    version: int
    subject: str
    type: str
    headers: Mapping[str, str]
    body: bytes
    partition: int

    @property
    def key(self) -> str:
        """The key of its subject."""
        return self.subject.rsplit(".", 1)[1]


class NumberedRow(NamedTuple):
    """A journal row with its place in the journal."""

    n: int
    row: JournalRow


class EffectRow(NamedTuple):
    """An effect that is asked for and not answered yet; `n` is the journal row that asks."""

    n: int
    event_id: str
    key: str
    partition: int
    attempts: int
    type: str
    headers: Mapping[str, str]
    body: bytes


class ParkedRow(NamedTuple):
    """A message that waits because its key is parked; `reason` is empty for those that only wait behind another."""

    key: str
    partition: int
    stream: str
    seq: int
    at_ns: int
    message_id: str
    subject: str
    headers: str
    body: bytes
    reason: str


class RefusedRow(NamedTuple):
    """A journal row that the broker refuses for good; `seq` is where another message stands under its id, or 0."""

    n: int
    key: str
    partition: int
    reason: str
    seq: int
    since: str


class StrangerRow(NamedTuple):
    """A message under an id of this context that is not this context's; `seq` 0 and `subject` "" are unknown."""

    message_id: str
    seq: int
    subject: str
    reason: str
    at: str
    who: str
    why: str


class Waiting(NamedTuple):
    """A parked message with an operator's verdict: try it again, or (`skip`) leave it out; `who` says so, and `why`."""

    id: int
    row: ParkedRow
    skip: bool
    who: str
    why: str


class SkippedRow(NamedTuple):
    """A parked message that an operator left out: `reason` is why it was parked, `why` the operator's."""

    key: str
    message_id: str
    subject: str
    reason: str
    who: str
    why: str
    at: str


class Position(NamedTuple):
    """How far a context has decided one partition of one stream, and which message stood there."""

    seq: int
    message_id: str


class Move(NamedTuple):
    """A position's compare-and-set."""

    stream: str
    partition: int
    expected: int
    seq: int
    message_id: str


def headers_from_text(text: str) -> Mapping[str, str]:
    """Headers as a column holds them."""
    return _headers.decode(text)


_headers = msgspec.json.Decoder(dict[str, str])
