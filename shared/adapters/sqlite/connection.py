"""One SQLite connection that runs functions one after the other: in a thread, or on the spot in virtual time.

`ThreadConnection` is the only place that uses private names of aiosqlite:

- `_execute` runs a whole function in the connection's thread, on the connection `_conn`. The public methods run one
  statement each: that is a thread hop per statement (measured 23 times slower), and a task cancelled between two
  statements would leave a transaction open that blocks every writer.
- `_thread` is a daemon, so that a process can exit while SQLite waits for a lock; and after a failed open it is joined,
  because aiosqlite stops it without waiting and its last callback would meet a closed event loop.

tests/integration/test_aiosqlite.py fails when aiosqlite changes one of them.
"""

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import aiosqlite
import anyio

from shared.adapters.virtual_time import VirtualLoop, virtual_loop

T = TypeVar("T")

ROWS_PER_FETCH: Final = 64
"""aiosqlite asks for it; nothing here reads rows through aiosqlite."""


class Connection(Protocol):
    """Runs functions on a SQLite connection, one after the other."""

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` to its end, even when the caller is cancelled."""
        ...

    async def close(self) -> None:
        """Close the connection after the queued work."""
        ...


async def open_connection(connect: Callable[[], sqlite3.Connection]) -> Connection:
    """Call `connect` and wrap its connection; in virtual time without a thread."""
    loop = virtual_loop()
    return await ThreadConnection.open(connect) if loop is None else VirtualConnection(connect(), loop)


class ThreadConnection(aiosqlite.Connection):
    """Runs each function in the connection's own thread."""

    @classmethod
    async def open(cls, connect: Callable[[], sqlite3.Connection]) -> "ThreadConnection":
        """Start the thread and call `connect` there."""
        opened = cls(connect, ROWS_PER_FETCH)
        opened._thread.daemon = True
        try:
            await opened
        except BaseException:
            opened._thread.join()
            raise
        return opened

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        execute: Callable[..., Awaitable[T]] = self._execute
        return await execute(work, self._conn)


class VirtualConnection:
    """Runs each function on the spot, between two short waits in which other tasks run.

    It does not sync: a simulated crash loses nothing that was written.
    """

    def __init__(self, connection: sqlite3.Connection, loop: VirtualLoop) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        self._connection = connection
        self._loop = loop

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        await anyio.sleep(self._loop.moment_s())
        result = work(self._connection)
        await anyio.sleep(self._loop.moment_s())
        return result

    async def close(self) -> None:
        self._connection.close()
