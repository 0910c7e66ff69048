"""The Store port on SQLite."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from shared.adapters.sqlite.database import BUSY_TIMEOUT_MS, Database
from shared.adapters.sqlite.journal.reader import SqliteReader
from shared.adapters.sqlite.journal.tables import MIGRATIONS, SCHEMA, SCHEMA_VERSION, check_owner
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.ports.store import Transaction
from shared.ports.store_reader import StoreReader

T = TypeVar("T")


class SqliteStore:
    """The database of one context in one SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path, *, context: str, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> "SqliteStore":
        """Open the file or create it; raises DatabaseError when it is not this context's."""
        store = cls(
            await Database.open(
                path,
                schema=SCHEMA,
                version=SCHEMA_VERSION,
                migrations=MIGRATIONS,
                lost=f"run chorus rebuild {context}",
                busy_timeout_ms=busy_timeout_ms,
            )
        )

        def claim(transaction: Transaction) -> str:
            owner = transaction.meta("context")
            if owner is None:
                transaction.set_meta("context", context)
            return owner or context

        # Write only to a new file, so that a file which another process has locked can be opened.
        try:
            owner = await store.read(lambda transaction: transaction.meta("context")) or await store.transact(claim)
            check_owner(path, owner, context)
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def waits_for_lock(self) -> bool:
        return self._database.waits_for_lock

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        return await self._database.transact(lambda connection: work(SqliteTransaction(connection)))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        return await self._database.read(lambda connection: work(SqliteTransaction(connection)))

    async def read_aside(self, work: Callable[[StoreReader], T]) -> T:
        return await self._database.read_aside(lambda connection: work(SqliteReader(connection)))

    async def close(self) -> None:
        await self._database.close()
