"""Records verdicts of operators on events that a group cannot deliver; needs aiosqlite, as reading does not."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.journal.statements import json_text
from shared.adapters.sqlite.views.tables import SCHEMA, SCHEMA_VERSION


async def judge_forwards(path: Path, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
    """Record a verdict on parked events, which the group carries out; returns how many were still parked."""

    def work(connection: sqlite3.Connection) -> int:
        judged = connection.execute(
            "UPDATE forwards SET verdict = ? WHERE reason <> '' AND n IN (SELECT value FROM json_each(?))",
            (verdict, json_text(list(numbers))),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO forwards_verdicts VALUES (?, ?, ?)", [(n, who, why) for n in numbers]
        )
        return judged.rowcount

    database = await Database.open(path, schema=SCHEMA, version=SCHEMA_VERSION)
    try:
        return await database.transact(work)
    finally:
        await database.close()
