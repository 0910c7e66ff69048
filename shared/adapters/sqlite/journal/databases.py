"""The databases of contexts as SQLite files in one directory: `<context>.db`.

aiosqlite, and what groups have, is imported only when it is needed: `chorus health` runs every few seconds, and the
import of aiosqlite takes 0.1 s.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.adapters.sqlite import reading
from shared.adapters.sqlite.journal.history import SqliteHistory
from shared.adapters.sqlite.journal.reader import SqliteReader, read_backlog
from shared.adapters.sqlite.journal.refused import SqliteRefusedRows
from shared.adapters.sqlite.journal.tables import SCHEMA, SCHEMA_VERSION, check_owner
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.adapters.sqlite.replace import Replacement, replacing
from shared.ports.forwards import ParkedForward
from shared.ports.rows import StrangerRow
from shared.ports.store_reader import Backlog

if TYPE_CHECKING:
    from shared.adapters.sqlite.journal.store import SqliteStore

COUNTED_WITHIN_S: Final = 1.0


class SqliteDatabases:
    """The databases of this directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def place(self, context: str) -> str:
        return str(self._path(context))

    def exists(self, context: str) -> bool:
        return self._path(context).exists()

    def is_lost(self, context: str) -> bool:
        return self._directory.is_dir() and not self.exists(context)

    @contextmanager
    def reading(self, context: str) -> Iterator[SqliteReader]:
        path = self._path(context)
        with reading.reading(path, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
            check_owner(path, SqliteTransaction(connection).meta("context"), context)
            yield SqliteReader(connection)

    @contextmanager
    def history(self, context: str) -> Iterator[SqliteHistory]:
        path = self._path(context)
        with reading.reading(path, schema=SCHEMA, version=SCHEMA_VERSION) as connection:
            check_owner(path, SqliteTransaction(connection).meta("context"), context)
            yield SqliteHistory(connection)

    def backlog(self, name: str) -> Backlog:
        path = self._path(name)
        if not path.is_file():
            return Backlog()
        try:
            with closing(reading.open_read_only(path, timeout_s=COUNTED_WITHIN_S)) as connection:
                return read_backlog(connection)
        except sqlite3.Error as error:
            return Backlog(unreadable=f"{path}: {error}")

    async def open(self, context: str) -> "SqliteStore":
        from shared.adapters.sqlite.journal.store import SqliteStore

        return await SqliteStore.open(self._path(context), context=context)

    def parked_forwards(self, context: str) -> list[ParkedForward]:
        from shared.adapters.sqlite.views.forwards import parked_forwards

        files = sorted(self._directory.glob(f"{context}-*.db"))
        return [one for file in files for one in parked_forwards(file)]

    def forwards(self, place: str, event_ids: Sequence[str]) -> list[ParkedForward]:
        from shared.adapters.sqlite.views.forwards import parked_forwards

        return parked_forwards(self._path(place), event_ids)

    async def judge_forwards(self, place: str, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        from shared.adapters.sqlite.views.judging import judge_forwards

        return await judge_forwards(self._path(place), numbers, verdict, who=who, why=why)

    @contextmanager
    def replacing(self, context: str) -> Iterator["SqliteReplacement"]:
        with replacing(self._path(context)) as replacement:
            yield SqliteReplacement(replacement, context)

    def _path(self, context: str) -> Path:
        return self._directory / f"{context}.db"


class SqliteReplacement:
    """A new file that will replace the database of a context."""

    def __init__(self, replacement: Replacement, context: str) -> None:
        self._replacement = replacement
        self._context = context

    def declared_strangers(self) -> list[StrangerRow]:
        old = self._replacement.old
        if old is None:
            return []
        try:
            return SqliteRefusedRows(old).declared_strangers()
        except sqlite3.Error:  # The old database is broken, or older than that table.
            return []

    async def open_new(self) -> "SqliteStore":
        from shared.adapters.sqlite.journal.store import SqliteStore

        return await SqliteStore.open(self._replacement.new, context=self._context)

    def put_in_place(self) -> Path | None:
        return self._replacement.put_in_place()
