"""What the engine relies on in a database and a clock, in real time and in virtual time."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.database import Database, open_read_only
from shared.adapters.virtual_time import VirtualClock, virtual_loop
from shared.ports.clock import Clock
from shared.ports.store import DatabaseError

SCHEMA = "CREATE TABLE told (n INTEGER PRIMARY KEY, what TEXT NOT NULL) STRICT"


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "told.db", schema=SCHEMA, version=1)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def clock() -> Clock:
    loop = virtual_loop()
    return SystemClock() if loop is None else VirtualClock(loop)


def tell(connection: sqlite3.Connection, what: str = "once") -> int:
    connection.execute("INSERT INTO told (what) VALUES (?)", (what,))
    return heard(connection)


def heard(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("SELECT count(*) FROM told").fetchone()[0]
    return count


async def test_transaction_commits_and_returns_what_its_work_returns(database: Database) -> None:
    assert await database.transact(tell) == 1
    assert await database.read(heard) == 1


async def test_transaction_whose_work_raises_leaves_nothing(database: Database) -> None:
    def tell_and_fail(connection: sqlite3.Connection) -> None:
        tell(connection)
        raise RuntimeError("second thoughts")

    with pytest.raises(RuntimeError, match="second thoughts"):
        await database.transact(tell_and_fail)
    assert await database.read(heard) == 0


async def test_transactions_that_come_together_run_one_after_the_other(database: Database) -> None:
    counted: list[int] = []

    async def tell_once() -> None:
        counted.append(await database.transact(tell))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(tell_once)
    assert sorted(counted) == list(range(1, 11))


async def test_two_connections_take_turns(database: Database) -> None:
    other = await Database.open(database.path, schema=SCHEMA, version=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(database.transact, tell)
            tasks.start_soon(other.transact, tell)
    assert await other.read(heard) == await database.read(heard) == 10
    await other.close()


async def test_what_was_committed_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    for count in (1, 2):
        database = await Database.open(tmp_path / "told.db", schema=SCHEMA, version=1)
        assert await database.transact(tell) == count
        await database.close()
    reader = open_read_only(tmp_path / "told.db")
    assert heard(reader) == 2
    reader.close()


async def test_file_is_for_its_owner_only(database: Database) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("version", "said"), [(0, "newer"), (2, "older")])
async def test_file_of_another_version_is_refused(database: Database, version: int, said: str) -> None:
    with pytest.raises(DatabaseError, match=said):
        await Database.open(database.path, schema=SCHEMA, version=version)


NEXT = "CREATE TABLE heard (n INTEGER PRIMARY KEY) STRICT"
NEXT_SCHEMA = f"{SCHEMA}; {NEXT}"


async def test_older_file_is_migrated_and_keeps_its_rows(database: Database) -> None:
    await database.transact(tell)
    migrated = await Database.open(
        database.path,
        schema=NEXT_SCHEMA,
        version=2,
        migrations={1: NEXT},
    )
    assert await migrated.transact(tell) == 2
    assert await migrated.read(lambda connection: connection.execute("SELECT * FROM heard").fetchall()) == []
    await migrated.close()


async def test_migration_that_does_not_lead_to_the_schema_leaves_the_file_as_it_was(database: Database) -> None:
    other = "CREATE TABLE other (n INTEGER)"
    with pytest.raises(DatabaseError, match="without a table heard"):
        await Database.open(database.path, schema=NEXT_SCHEMA, version=2, migrations={1: other})
    assert await database.transact(tell) == 1
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    assert await database.read(lambda connection: connection.execute(tables).fetchall()) == [("told",)]


async def test_file_of_a_stranger_is_refused(tmp_path: Path) -> None:
    stranger = sqlite3.connect(tmp_path / "told.db")
    stranger.execute("CREATE TABLE theirs (n INTEGER)")
    stranger.close()
    with pytest.raises(DatabaseError, match="not a Chorus database"):
        await Database.open(tmp_path / "told.db", schema=SCHEMA, version=1)


async def test_clock_says_what_time_it_is_and_waits(clock: Clock) -> None:
    now, began = clock.now(), clock.monotonic()
    assert now.tzinfo is UTC
    await clock.sleep(0.05)
    assert clock.now() - now >= timedelta(milliseconds=49)
    assert clock.monotonic() - began >= 0.049
