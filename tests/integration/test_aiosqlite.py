"""aiosqlite as `shared.adapters.sqlite.connection` expects it; a failure here says that aiosqlite has changed."""

import asyncio
import inspect
import sqlite3
import threading
from typing import NoReturn

import aiosqlite
import pytest

from shared.adapters.sqlite.connection import ThreadConnection


def in_memory() -> sqlite3.Connection:
    return sqlite3.connect(":memory:", isolation_level=None)


def test_private_names_are_there_and_take_what_they_took() -> None:
    parameters = inspect.signature(aiosqlite.Connection._execute).parameters
    assert list(parameters) == ["self", "fn", "args", "kwargs"]
    assert isinstance(aiosqlite.Connection(in_memory, 1)._thread, threading.Thread)
    assert isinstance(aiosqlite.Connection._conn, property)


async def test_work_runs_as_a_whole_in_the_thread_of_the_connection() -> None:
    connection = await ThreadConnection.open(in_memory)
    try:
        assert connection._thread.daemon
        thread = await connection.run(lambda _: threading.current_thread())
        assert thread is connection._thread
    finally:
        await connection.close()
    connection._thread.join(5.0)
    assert not connection._thread.is_alive()


async def test_work_of_a_cancelled_task_runs_to_its_end_before_the_next() -> None:
    begun, finish = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("BEGIN IMMEDIATE")
        loop.call_soon_threadsafe(begun.set)
        assert finish.wait(5.0)
        connection.execute("COMMIT")

    connection = await ThreadConnection.open(in_memory)
    try:
        task = asyncio.create_task(connection.run(work))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        finish.set()
        assert not await connection.run(lambda idle: idle.in_transaction)
    finally:
        await connection.close()


async def test_failed_open_leaves_no_thread() -> None:
    def fail() -> NoReturn:
        raise sqlite3.OperationalError("disk I/O error")

    before = {*threading.enumerate()}  # Some may be of an earlier test, and end meanwhile.
    with pytest.raises(sqlite3.OperationalError):
        await ThreadConnection.open(fail)
    assert {*threading.enumerate()} <= before
