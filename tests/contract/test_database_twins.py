"""The database and clock contract, in real time and in virtual time."""

import sqlite3
import stat
from collections.abc import AsyncIterator
from datetime import UTC, timedelta
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from shared.adapters.clock import SystemClock
from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.reading import open_read_only
from shared.adapters.virtual_time import VirtualClock, virtual_loop
from shared.ports.clock import Clock
from shared.ports.store import DatabaseError

SCHEMA = "CREATE TABLE notes (n INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT"


@pytest_asyncio.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = await Database.open(tmp_path / "notes.db", schema=SCHEMA, version=1)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def clock() -> Clock:
    loop = virtual_loop()
    return SystemClock() if loop is None else VirtualClock(loop)


def add_note(connection: sqlite3.Connection, text: str = "once") -> int:
    connection.execute("INSERT INTO notes (text) VALUES (?)", (text,))
    return count_notes(connection)


def count_notes(connection: sqlite3.Connection) -> int:
    count: int = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
    return count


async def test_transaction_commits_and_returns_what_its_work_returns(database: Database) -> None:
    assert await database.transact(add_note) == 1
    assert await database.read(count_notes) == 1


async def test_transaction_that_raises_is_rolled_back(database: Database) -> None:
    def add_note_and_fail(connection: sqlite3.Connection) -> None:
        add_note(connection)
        raise RuntimeError("no note after all")

    with pytest.raises(RuntimeError, match="no note after all"):
        await database.transact(add_note_and_fail)
    assert await database.read(count_notes) == 0


async def test_concurrent_transactions_run_one_after_the_other(database: Database) -> None:
    counted: list[int] = []

    async def add_one() -> None:
        counted.append(await database.transact(add_note))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(add_one)
    assert sorted(counted) == list(range(1, 11))


async def test_two_connections_take_turns(database: Database) -> None:
    other = await Database.open(database.path, schema=SCHEMA, version=1)
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(database.transact, add_note)
            tasks.start_soon(other.transact, add_note)
    assert await other.read(count_notes) == await database.read(count_notes) == 10
    await other.close()


async def test_committed_rows_survive_a_reopened_file(tmp_path: Path) -> None:
    for count in (1, 2):
        database = await Database.open(tmp_path / "notes.db", schema=SCHEMA, version=1)
        assert await database.transact(add_note) == count
        await database.close()
    reader = open_read_only(tmp_path / "notes.db")
    assert count_notes(reader) == 2
    reader.close()


async def test_only_the_owner_can_read_the_file(database: Database) -> None:
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


@pytest.mark.parametrize(("version", "problem"), [(0, "newer"), (2, "older")])
async def test_file_of_another_version_is_refused(database: Database, version: int, problem: str) -> None:
    with pytest.raises(DatabaseError, match=problem):
        await Database.open(database.path, schema=SCHEMA, version=version)


NEXT = "CREATE TABLE labels (n INTEGER PRIMARY KEY) STRICT"
NEXT_SCHEMA = f"{SCHEMA}; {NEXT}"


async def test_older_file_is_migrated_and_keeps_its_rows(database: Database) -> None:
    await database.transact(add_note)
    migrated = await Database.open(
        database.path,
        schema=NEXT_SCHEMA,
        version=2,
        migrations={1: NEXT},
    )
    assert await migrated.transact(add_note) == 2
    assert await migrated.read(lambda connection: connection.execute("SELECT * FROM labels").fetchall()) == []
    await migrated.close()


async def test_migration_to_another_schema_is_rolled_back(database: Database) -> None:
    other = "CREATE TABLE other (n INTEGER)"
    with pytest.raises(DatabaseError, match="without a table labels"):
        await Database.open(database.path, schema=NEXT_SCHEMA, version=2, migrations={1: other})
    assert await database.transact(add_note) == 1
    tables = "SELECT name FROM sqlite_schema WHERE type = 'table'"
    assert await database.read(lambda connection: connection.execute(tables).fetchall()) == [("notes",)]


async def test_file_of_another_program_is_refused(tmp_path: Path) -> None:
    stranger = sqlite3.connect(tmp_path / "notes.db")
    stranger.execute("CREATE TABLE customers (n INTEGER)")
    stranger.close()
    with pytest.raises(DatabaseError, match="not a Chorus database"):
        await Database.open(tmp_path / "notes.db", schema=SCHEMA, version=1)


async def test_clock_tells_the_time_and_waits(clock: Clock) -> None:
    now, began = clock.now(), clock.monotonic()
    assert now.tzinfo is UTC
    await clock.sleep(0.05)
    assert clock.now() - now >= timedelta(milliseconds=49)
    assert clock.monotonic() - began >= 0.049
