"""R24: a worker whose database file is removed or replaced stops before it decides anything more."""

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio
import pytest

from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.replace import replacing
from shared.config.settings import default_streams_file
from shared.ports.store import DatabaseError
from shared.repair.rebuild import rebuild
from tests.e2e.shop import environment
from tests.integration.engine import BRIEFLY_MS, PARTITIONS, Counter, leaves, running
from tests.integration.keys import TILL
from tests.integration.storeroom import storeroom
from tests.integration.till import till
from tests.processes import spawn
from tests.waiting import WITHIN_S, until

SCHEMA = "CREATE TABLE notes (n INTEGER PRIMARY KEY) STRICT"


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
    """A copy of the database file alone, as `cp` makes it; the newest commits are in `-wal`."""
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
    """Harm the database after the till has rung once, then ring again if `ring`; returns the worker's error."""
    with pytest.raises(BaseExceptionGroup) as raised, anyio.fail_after(WITHIN_S):
        await work_until_stopped(counter, harm, ring=ring)
    (error,) = leaves(raised.value)
    assert isinstance(error, DatabaseError)
    return error


@pytest.mark.parametrize(("harm", "problem"), HARMS.values(), ids=HARMS.keys())
async def test_worker_stops_before_it_decides_on_a_file_that_is_not_there_any_more(
    counter: Counter, harm: Callable[[Path], None], problem: str
) -> None:
    error = await stopped(counter, harm, ring=True)
    assert problem in str(error)
    assert "run chorus rebuild till" in str(error)
    assert counter.totals(TILL) == [5]


async def test_idle_worker_stops_as_well(counter: Counter) -> None:
    await stopped(counter, unlink, ring=False)


@pytest.mark.parametrize("harm", [move_away, replace_by_another, replace_by_a_copy])
async def test_file_that_is_put_back_has_all_commits(counter: Counter, harm: Callable[[Path], None]) -> None:
    await stopped(counter, harm, ring=True)
    put_back(counter.directory / "till.db")
    async with running(counter):
        await counter.ring(TILL, 7, "m-3")
        await counter.watcher.until(TILL, "Rung", times=3)
    assert counter.totals(TILL) == [5, 11, 18]
    assert counter.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("harm", [unlink, replace_by_another, replace_by_a_copy])
async def test_lost_file_is_rebuilt_without_duplicates(counter: Counter, harm: Callable[[Path], None]) -> None:
    await stopped(counter, harm, ring=True)
    path = counter.directory / "till.db"
    if path.exists():
        path.rename(path.with_name("moved-away"))
    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS)
    async with running(counter):
        await counter.ring(TILL, 7, "m-3")
        await counter.watcher.until(TILL, "Rung", times=3)
    assert counter.totals(TILL) == [5, 11, 18]
    assert counter.rows("PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("part", ["-wal", "-shm"])
async def test_worker_without_its_log_keeps_its_commits_and_stops(counter: Counter, part: str) -> None:
    error = await stopped(counter, lambda path: path.with_name(path.name + part).unlink(), ring=True)
    assert f"till.db{part}: removed" in str(error)
    async with running(counter):
        await counter.watcher.until(TILL, "Rung", times=2)
    assert counter.totals(TILL) == [5, 11]
    assert counter.rows("PRAGMA integrity_check") == [("ok",)]


async def test_transaction_on_a_replaced_file_is_rolled_back(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    database = await Database.open(path, schema=SCHEMA, version=1)

    def add_and_move(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (1)")
        move_away(path)

    with pytest.raises(DatabaseError, match=r"notes.db: removed .*; put it back, or, if it is lost, restore it from"):
        await database.transact(add_and_move)
    await database.close()
    with closing(sqlite3.connect(tmp_path / "away")) as away:
        assert away.execute("SELECT count(*) FROM notes").fetchone() == (0,)


async def test_worker_waits_for_a_reader_of_the_log(tmp_path: Path) -> None:
    """Otherwise its commits would be lost when the worker stops."""
    path = tmp_path / "till.db"
    store = await SqliteStore.open(path, context="till", busy_timeout_ms=BRIEFLY_MS)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM meta").fetchone()
        await store.transact(lambda transaction: transaction.set_meta("note", "once"))
        path.with_name("till.db-wal").unlink()
        with pytest.raises(Exception, match="a reader keeps the write-ahead log"):
            await store.read(lambda transaction: transaction.meta("note"))
        reader.execute("ROLLBACK")
        with pytest.raises(DatabaseError, match=r"till\.db-wal: removed"):
            await store.read(lambda transaction: transaction.meta("note"))
    await store.close()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT value FROM meta WHERE key = 'note'").fetchone() == ("once",)


class HeldLock:
    """The lock file of a database, held as by the end of a rebuild."""

    def __init__(self, path: Path) -> None:
        self._file = Path(f"{path}.lock").open("ab")  # noqa: SIM115  Held until `release`.
        fcntl.flock(self._file, fcntl.LOCK_EX)

    @property
    def is_waited_for(self) -> bool:
        """Whether a process waits for the lock, as the kernel lists it."""
        inode = os.fstat(self._file.fileno()).st_ino
        return any("->" in line and f":{inode} " in line for line in Path("/proc/locks").read_text().splitlines())

    def release(self) -> None:
        self._file.close()


async def test_database_that_is_replaced_while_its_opening_waits_is_opened_as_the_new_one(tmp_path: Path) -> None:
    """Else the process would go on with the old file, which nobody sees any more."""
    path = tmp_path / "notes.db"
    await (await Database.open(path, schema=SCHEMA, version=1)).close()
    held = HeldLock(path)
    async with anyio.create_task_group() as tasks:

        async def tell() -> None:
            database = await Database.open(path, schema=SCHEMA, version=1)
            await database.transact(lambda connection: connection.execute("INSERT INTO notes VALUES (1)"))
            await database.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
            await database.close()

        tasks.start_soon(tell)
        await until(lambda: held.is_waited_for)
        replace_by_a_copy(path)
        held.release()
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM notes").fetchone() == (1,)


async def test_old_database_stays_closed_to_everybody_until_the_new_one_is_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    await (await Database.open(path, schema=SCHEMA, version=1)).close()
    held = HeldLock(path)

    def replace() -> None:
        with replacing(path) as replacement:
            shutil.copy(path, replacement.new)
            replacement.put_in_place()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, replace)
        await until(lambda: held.is_waited_for)
        with closing(sqlite3.connect(path, timeout=0)) as another, pytest.raises(sqlite3.OperationalError):
            another.execute("SELECT count(*) FROM notes")
        held.release()


async def test_worker_started_during_a_rebuild_waits_for_it_and_decides_on_the_new_database(
    account_url: str, tmp_path: Path
) -> None:
    streams = tmp_path / "streams.yaml"
    streams.write_text(default_streams_file().read_text().replace("partitions: 4", f"partitions: {PARTITIONS}"))
    environ = environment(account_url, tmp_path, streams_file=str(streams), log_format="json")
    path, log = tmp_path / "inventory.db", tmp_path / "inventory.log"
    async with storeroom(account_url, tmp_path) as room:
        await (await SqliteStore.open(path, context="inventory")).close()
        with replacing(path) as replacement:
            worker = await spawn("inventory", ("contexts.inventory",), environ, log)
            try:
                await until(lambda: "database busy, waiting for it" in worker.tail)
                assert "chorus rebuild" in worker.tail
                assert replacement.old is not None
                with closing(sqlite3.connect(replacement.new)) as new:
                    replacement.old.backup(new)
                aside = replacement.put_in_place()
                await room.order("o-1")
                await room.watcher.until("o-1", "InventoryRejected")
                assert await worker.stop() == 0
            finally:
                await worker.kill()
        assert room.rows("SELECT count(*) FROM journal WHERE type = 'InventoryRejected'") == [(1,)]
    assert aside is not None
    with closing(sqlite3.connect(aside)) as old:
        assert old.execute("SELECT count(*) FROM journal").fetchone() == (0,)
