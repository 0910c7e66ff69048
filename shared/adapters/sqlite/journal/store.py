"""A context's database: journal, which is event store and outbox at once, snapshots, inbox, positions and effects."""

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.journal.tables import MIGRATIONS, SCHEMA, SCHEMA_VERSION
from shared.adapters.sqlite.journal.transaction import SqliteTransaction
from shared.ports.store import DatabaseError, Transaction

T = TypeVar("T")


class SqliteStore:
    """The database of one context; `transact` runs one function in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    async def open(cls, path: Path, *, context: str) -> "SqliteStore":
        """Open or create; raises DatabaseError when the file is not this context's."""
        store = cls(
            await Database.open(
                path,
                schema=SCHEMA,
                version=SCHEMA_VERSION,
                migrations=MIGRATIONS,
                lost=f"run chorus rebuild {context}",
            )
        )

        def claim(transaction: Transaction) -> str:
            owner = transaction.meta("context")
            if owner is None:
                transaction.set_meta("context", context)
            return owner or context

        # Only a new file is written to, so that one which somebody else has locked can be opened all the same.
        try:
            owner = await store.read(lambda transaction: transaction.meta("context")) or await store.transact(claim)
            if owner != context:
                raise DatabaseError(
                    f"{path}: belongs to {owner}, not to {context}; set CHORUS_DATA_DIR to another directory"
                )
        except BaseException:
            await store.close()
            raise
        return store

    @property
    def queues(self) -> bool:
        """Whether a transaction waits for another process of the context to finish its own."""
        return self._database.queues

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction; raises DatabaseBusyError when trying again may help."""
        return await self._database.transact(lambda connection: work(SqliteTransaction(connection)))

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Run `work`, which only reads."""
        return await self._database.read(lambda connection: work(SqliteTransaction(connection)))

    async def close(self) -> None:
        """Close the file."""
        await self._database.close()
