"""A worker whose database file is removed or replaced stops before its next decision (R24)."""

import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.ports.store import DatabaseError
from shared.repair.rebuild import rebuild
from tests.integration.engine import PARTITIONS, Counter, running, standing
from tests.integration.test_database import leaves
from tests.integration.till import till
from tests.waiting import WITHIN_S

SCHEMA = "CREATE TABLE told (n INTEGER PRIMARY KEY) STRICT"
TILL = "t-1"


@pytest.fixture
async def counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    async with standing(account_url, tmp_path) as counter:
        yield counter


def unlink(path: Path) -> None:
    path.unlink()


def move_away(path: Path) -> None:
    path.rename(path.with_name("away"))


def replace_by_another(path: Path) -> None:
    another = path.with_name("another")
    with closing(sqlite3.connect(another)) as database:
        database.execute("CREATE TABLE customers (name TEXT)")
    move_away(path)
    another.rename(path)


def replace_by_a_copy(path: Path) -> None:
    """Of the database file alone, as `cp` makes it; the newest commits are in `-wal`."""
    shutil.copy(path, path.with_name("copy"))
    move_away(path)
    path.with_name("copy").rename(path)


def put_back(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name("away").rename(path)


HARMS: dict[str, tuple[Callable[[Path], None], str]] = {
    "removed": (unlink, "till.db: removed"),
    "moved away": (move_away, "till.db: removed"),
    "replaced by another": (replace_by_another, "till.db: replaced by another file"),
    "replaced by a copy": (replace_by_a_copy, "till.db: replaced by another file"),
}


async def work_until_stopped(counter: Counter, harm: Callable[[Path], None], *, ring: bool) -> None:
    async with running(counter):
        await counter.ring(TILL, 5, "m-1")
        await counter.watcher.until(TILL, "Rung")
        harm(counter.directory / "till.db")
        if ring:
            await counter.ring(TILL, 6, "m-2")
        await anyio.sleep_forever()


async def stopped(counter: Counter, harm: Callable[[Path], None], *, ring: bool) -> DatabaseError:
    """Harm the database of a till that has rung once, then perhaps ring; the error with which its worker stops."""
    with pytest.raises(BaseExceptionGroup) as raised, anyio.fail_after(WITHIN_S):
        await work_until_stopped(counter, harm, ring=ring)
    (error,) = leaves(raised.value)
    assert isinstance(error, DatabaseError)
    return error


@pytest.mark.parametrize(("harm", "said"), HARMS.values(), ids=HARMS.keys())
async def test_worker_stops_before_it_decides_on_a_file_that_is_not_there_any_more(
    counter: Counter, harm: Callable[[Path], None], said: str
) -> None:
    error = await stopped(counter, harm, ring=True)
    assert said in str(error)
    assert "run chorus rebuild till" in str(error)
    assert counter.totals(TILL) == [5]


async def test_idle_worker_stops_too(counter: Counter) -> None:
    await stopped(counter, unlink, ring=False)


@pytest.mark.parametrize("harm", [move_away, replace_by_another, replace_by_a_copy])
async def test_file_that_is_put_back_has_all_that_was_committed(counter: Counter, harm: Callable[[Path], None]) -> None:
    await stopped(counter, harm, ring=True)
    put_back(counter.directory / "till.db")
    async with running(counter):
        await counter.ring(TILL, 7, "m-3")
        await counter.watcher.until(TILL, "Rung", times=3)
    assert counter.totals(TILL) == [5, 11, 18]
    assert counter.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("harm", [unlink, replace_by_another, replace_by_a_copy])
async def test_lost_file_is_rebuilt_and_nothing_is_doubled(counter: Counter, harm: Callable[[Path], None]) -> None:
    await stopped(counter, harm, ring=True)
    path = counter.directory / "till.db"
    if path.exists():
        path.rename(path.with_name("moved-away"))
    await rebuild(till(), counter.broker, counter.directory, partitions=PARTITIONS)
    async with running(counter):
        await counter.ring(TILL, 7, "m-3")
        await counter.watcher.until(TILL, "Rung", times=3)
    assert counter.totals(TILL) == [5, 11, 18]
    assert counter.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("part", ["-wal", "-shm"])
async def test_worker_without_its_log_keeps_what_it_committed_and_stops(counter: Counter, part: str) -> None:
    error = await stopped(counter, lambda path: path.with_name(path.name + part).unlink(), ring=True)
    assert f"till.db{part}: removed" in str(error)
    async with running(counter):
        await counter.watcher.until(TILL, "Rung", times=2)
    assert counter.totals(TILL) == [5, 11]
    assert counter.rows("PRAGMA integrity_check") == [("ok",)]


async def test_file_that_is_replaced_while_a_transaction_runs_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "told.db"
    database = await Database.open(path, schema=SCHEMA, version=1)

    def tell_and_move(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO told VALUES (1)")
        move_away(path)

    with pytest.raises(DatabaseError, match=r"told.db: removed .*; put it back, or, if it is lost, restore it from"):
        await database.transact(tell_and_move)
    await database.close()
    with closing(sqlite3.connect(tmp_path / "away")) as away:
        assert away.execute("SELECT count(*) FROM told").fetchone() == (0,)


async def test_log_that_a_reader_needs_is_waited_for(tmp_path: Path) -> None:
    """Its commits would be lost with the worker that stops."""
    path = tmp_path / "till.db"
    store = await SqliteStore.open(path, context="till")
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchone()
        await store.transact(lambda transaction: transaction.set_meta("told", "once"))
        path.with_name("till.db-wal").unlink()
        with pytest.raises(Exception, match="a reader keeps the write-ahead log"):
            await store.read(lambda transaction: transaction.meta("told"))
        reader.execute("ROLLBACK")
        with pytest.raises(DatabaseError, match=r"till\.db-wal: removed"):
            await store.read(lambda transaction: transaction.meta("told"))
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT value FROM meta WHERE key = 'told'").fetchone() == ("once",)
