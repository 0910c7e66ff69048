"""Where a journal's rows are in the streams, by what the journal says and by what is really there."""

import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from shared.adapters.sqlite.journal.statements import json_text
from shared.ports.broker import Stored
from shared.wire.messages import rfc3339

PUBLISHED_LATE_AT_MOST = 50_000
"""Rows are not published in the order of their numbers; further apart than so many they are not (relay.py)."""

_RESTING = (
    "(event_id IN (SELECT message_id FROM inbox) OR EXISTS (SELECT 1 FROM journal later"
    " WHERE later.aggregate = journal.aggregate AND later.version > journal.version))"
)
"""A timer that was decided, or replaced by a later one of its kind, need not be in its stream any more."""


class SqlitePublishedRows:
    """The queries on what was published, within a transaction; `subjects` is how the subjects begin."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def last(self, subjects: str) -> tuple[str, int] | None:
        """(event id, stream sequence) of what stands last in the stream, among the last rows under such subjects."""
        found = self._connection.execute(
            "SELECT event_id, published_seq FROM (SELECT event_id, published_seq FROM journal"
            " WHERE substr(subject, 1, length(?)) = ? ORDER BY n DESC LIMIT ?)"
            " WHERE published_seq > 0 ORDER BY published_seq DESC LIMIT 1",
            (subjects, subjects, PUBLISHED_LATE_AT_MOST),
        ).fetchone()
        return None if found is None else (str(found[0]), int(found[1]))

    def bodies(self, event_ids: Sequence[str]) -> dict[str, bytes]:
        """What the journal says under these ids; those that it does not know are not among them."""
        return {
            event_id: body.encode()
            for event_id, body in self._connection.execute(
                "SELECT event_id, body FROM journal WHERE event_id IN (SELECT value FROM json_each(?))",
                (json_text(list(event_ids)),),
            )
        }

    def unexplained(self, found: Sequence[Stored]) -> list[Stored]:
        """Which of these messages of EVENTS neither the journal nor table `strangers` explains.

        An operator's declaration holds for every message under its id. A stranger that was recorded by its form
        explains only the message that stands where it stood: an event of ours that was lost may have the same id.
        """
        places = [(stored.event_id, stored.sequence, rfc3339(stored.at)) for stored in found]
        query = (
            "SELECT key FROM json_each(?) WHERE json_extract(value, '$[0]') NOT IN (SELECT event_id FROM journal)"
            " AND NOT EXISTS (SELECT 1 FROM strangers WHERE message_id = json_extract(value, '$[0]') AND (who <> ''"
            " OR (seq = json_extract(value, '$[1]') AND at = json_extract(value, '$[2]'))))"
        )
        return [found[index] for (index,) in self._connection.execute(query, (json_text(places),))]

    def missing(self, subjects: str, there: Iterable[str], *, timers: bool) -> list[str]:
        """The rows under such subjects that ought to be in their stream, and are not; in the journal's order."""
        self._there(dict.fromkeys(there, 0))
        return [
            event_id
            for (event_id,) in self._connection.execute(
                "SELECT event_id FROM journal WHERE substr(subject, 1, length(?)) = ?"  # noqa: S608  No input.
                f" AND event_id NOT IN (SELECT event_id FROM there) AND NOT (? AND {_RESTING}) ORDER BY n",
                (subjects, subjects, timers),
            )
        ]

    def correct(self, subjects: str, there: Mapping[str, int], *, timers: bool) -> int:
        """Have the journal say where each row is, by event id; how many rows are to be published then.

        A row that is refused because a stranger's message has its id is not where that message is.
        """
        self._there(there)
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
                f" AND substr(subject, 1, length(?)) = ? AND {_RESTING}",
                (subjects, subjects),
            )
        return int(
            self._connection.execute(
                "SELECT count(*) FROM journal WHERE published_seq IS NULL AND substr(subject, 1, length(?)) = ?",
                (subjects, subjects),
            ).fetchone()[0]
        )

    def _there(self, there: Mapping[str, int]) -> None:
        self._connection.execute(
            "CREATE TEMP TABLE IF NOT EXISTS there (event_id TEXT PRIMARY KEY, seq INTEGER NOT NULL)"
        )
        self._connection.execute("DELETE FROM there")
        self._connection.executemany("INSERT OR IGNORE INTO there VALUES (?, ?)", there.items())
