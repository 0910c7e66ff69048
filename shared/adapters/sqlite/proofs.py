"""Reads the events of a database by their ids, from a journal or from the outbox of a group."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Literal

from shared.ports.rows import Proof


def proofs_in(
    connection: sqlite3.Connection, table: Literal["journal", "outbox"], event_ids: Sequence[str]
) -> dict[str, Proof]:
    """The events with these ids that the table has."""
    query = f"SELECT event_id, subject, body FROM {table} WHERE event_id IN (SELECT value FROM json_each(?))"  # noqa: S608  No input.
    return {
        event_id: Proof(subject, body.encode())
        for event_id, subject, body in connection.execute(query, (json.dumps(list(event_ids)),))
    }
