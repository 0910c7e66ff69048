"""Journal rows in SQLite, compared with the streams."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from shared.adapters.sqlite.journal.statements import json_text
from shared.ports.broker import Stored
from shared.wire.messages import rfc3339

REORDERED_AT_MOST = 50_000
"""The relay publishes rows out of the order of their numbers, by at most this many (engine/publish/relay.py)."""

_OBSOLETE = (
    "(event_id IN (SELECT message_id FROM inbox) OR EXISTS (SELECT 1 FROM journal later"
    " WHERE later.aggregate = journal.aggregate AND later.version > journal.version))"
)
"""A timer that was decided, or replaced by a later one of its kind, may be absent from its stream."""


class SqlitePublishedRows:
    """The comparison with the streams within one transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def last(self, subjects: str) -> tuple[str, int] | None:
        found = self._connection.execute(
            "SELECT event_id, published_seq FROM (SELECT event_id, published_seq FROM journal"
            " WHERE substr(subject, 1, length(?)) = ? ORDER BY n DESC LIMIT ?)"
            " WHERE published_seq > 0 ORDER BY published_seq DESC LIMIT 1",
            (subjects, subjects, REORDERED_AT_MOST),
        ).fetchone()
        return None if found is None else (str(found[0]), int(found[1]))

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        return {
            event_id: body.encode()
            for event_id, body in self._connection.execute(
                "SELECT event_id, body FROM journal WHERE event_id IN (SELECT value FROM json_each(?))",
                (json_text(list(event_ids)),),
            )
        }

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        known = [(stored.event_id, stored.sequence, rfc3339(stored.at)) for stored in found]
        query = (
            "SELECT key FROM json_each(?) WHERE json_extract(value, '$[0]') NOT IN (SELECT event_id FROM journal)"
            " AND NOT EXISTS (SELECT 1 FROM strangers WHERE message_id = json_extract(value, '$[0]') AND (who <> ''"
            " OR (seq = json_extract(value, '$[1]') AND at = json_extract(value, '$[2]'))))"
        )
        return [found[index] for (index,) in self._connection.execute(query, (json_text(known),))]

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        self._load_there(dict.fromkeys(there, 0))
        return [
            event_id
            for (event_id,) in self._connection.execute(
                "SELECT event_id FROM journal WHERE substr(subject, 1, length(?)) = ?"  # noqa: S608  No input.
                f" AND event_id NOT IN (SELECT event_id FROM there) AND NOT (? AND {_OBSOLETE}) ORDER BY n",
                (subjects, subjects, timers),
            )
        ]

    def correct(self, subjects: str, there: Mapping[str, int], *, timers: bool) -> int:
        self._load_there(there)
        self._connection.execute(
            "UPDATE journal SET published_seq = NULL WHERE published_seq IS NOT NULL"
            " AND substr(subject, 1, length(?)) = ? AND event_id NOT IN (SELECT event_id FROM there)",
            (subjects, subjects),
        )
        self._connection.execute(
            "UPDATE journal SET published_seq = there.seq FROM there"
            " WHERE there.event_id = journal.event_id AND published_seq IS NOT there.seq"
            " AND journal.n NOT IN (SELECT n FROM refused WHERE seq = there.seq)"
        )
        if timers:
            self._connection.execute(
                "UPDATE journal SET published_seq = 0 WHERE published_seq IS NULL"  # noqa: S608  No input.
                f" AND substr(subject, 1, length(?)) = ? AND {_OBSOLETE}",
                (subjects, subjects),
            )
        return int(
            self._connection.execute(
                "SELECT count(*) FROM journal WHERE published_seq IS NULL AND substr(subject, 1, length(?)) = ?",
                (subjects, subjects),
            ).fetchone()[0]
        )

    def _load_there(self, there: Mapping[str, int]) -> None:
        """Fill the temporary table `there` with sequences by event id."""
        self._connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS there (event_id TEXT PRIMARY KEY, seq INTEGER NOT NULL)"
        )
        self._connection.execute("DELETE FROM there")
        self._connection.executemany("INSERT OR IGNORE INTO there VALUES (?, ?)", there.items())
