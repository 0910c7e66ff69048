"""Reads and copies the database files of workers."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any


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
            "causes": {
                cause
                for (cause,) in database.execute("SELECT json_extract(headers, '$.\"Causation-Id\"') FROM journal")
            },
        }
