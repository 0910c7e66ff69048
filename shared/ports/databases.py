"""The port to the databases of a system, by a context's name: for an operator's tools, and to open a worker's store."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from shared.ports.forwards import ParkedForward
from shared.ports.history import History
from shared.ports.rows import StrangerRow
from shared.ports.store import Store
from shared.ports.store_reader import Backlog, StoreReader


class Replacement(Protocol):
    """A database in the making that will replace the one of a context. No process has the old one open."""

    def declared_strangers(self) -> list[StrangerRow]:
        """The strangers that an operator declared in the old database; none when it is lost or broken."""
        ...

    async def open_new(self) -> Store:
        """Create the new database. Close it before `put_in_place`."""
        ...

    def put_in_place(self) -> Path | None:
        """Replace the old database by the new one, atomically; returns where the old one is now.

        Raises:
            DatabaseError: a process has created a database meanwhile.
        """
        ...


class Databases(Protocol):
    """The databases of a system on this machine, by context."""

    def place(self, context: str) -> str:
        """Where the database is or would be, for messages to an operator."""
        ...

    def exists(self, context: str) -> bool:
        """Whether there is one."""
        ...

    def is_lost(self, context: str) -> bool:
        """Whether it is missing where the databases of this machine are."""
        ...

    def reading(self, context: str) -> AbstractContextManager[StoreReader]:
        """Read the database of a context while its workers run.

        Raises:
            DatabaseError: it is missing, broken, of another context, or of another release.
            DatabaseBusyError: it is locked.
        """
        ...

    def history(self, context: str) -> AbstractContextManager[History]:
        """Read all that a context has decided, beside its workers; raises as `reading`."""
        ...

    def backlog(self, name: str) -> Backlog:
        """Count what waits in the database of a context; nothing waits in a missing one."""
        ...

    async def open(self, context: str) -> Store:
        """Open the database of a context, or create it; raises as `reading`, but an older release is migrated."""
        ...

    def parked_forwards(self, context: str) -> list[ParkedForward]:
        """The events that groups of a read side cannot deliver; none without such a group. Raises as `reading`."""
        ...

    def forwards(self, place: str, event_ids: Sequence[str]) -> list[ParkedForward]:
        """Those of these events that a group has not delivered, whether they are parked or not."""
        ...

    async def judge_forwards(self, place: str, numbers: Sequence[int], verdict: str, *, who: str, why: str) -> int:
        """Record `retry` or `skip` of parked events, which the group carries out; returns how many were parked."""
        ...

    def replacing(self, context: str) -> AbstractContextManager[Replacement]:
        """A replacement; the end of the block deletes it unless it was put in place.

        Raises:
            DatabaseError: a process has the database open, or another replacement is in progress.
        """
        ...
