"""R14. A worker refuses a foreign, corrupt or older database with the remedy, and leaves it as it is."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Callable, Coroutine
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import anyio
import pytest

from shared.adapters.sqlite.database import Database
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.virtual_time import VirtualLoop
from shared.cli.errors import report
from shared.config.exit_codes import Exit
from shared.ports.rows import JournalRow
from shared.ports.store import DatabaseBusyError, DatabaseError, Transaction
from shared.repair.parked import parked_in
from shared.repair.rebuild import rebuild
from shared.wire.streams import EVENTS
from tests.integration.databases import copy, tables
from tests.integration.engine import PARTITIONS, Counter, leaves, running, standing, stored_again
from tests.integration.till import till
from tests.waiting import WITHIN_S

T = TypeVar("T")
PAGE = 4096


async def fill(file: Path) -> None:
    """Create a till's database with 400 events, and close it."""

    def work(transaction: Transaction) -> None:
        keys = [f"t-{number}" for number in range(400)]
        transaction.append(
            [
                JournalRow(
                    f"till/till-{key}@1", f"till-{key}", 1, f"evt.till.Rung.{key}", "Rung", {}, b'{"amount":5}', 0
                )
                for key in keys
            ]
        )
        transaction.add_to_inbox([(f"m-{key}", b"sixteen bytes...") for key in keys])
        transaction.save_snapshots([(f"till-{key}", 1, '{"total":5,"state":"OPEN"}') for key in keys])

    store = await SqliteStore.open(file, context="till")
    await store.transact(work)
    await store.close()


async def use(path: Path) -> None:
    """Use every table like a worker."""

    def work(transaction: Transaction) -> None:
        keys = [f"t-{number}" for number in range(0, 400, 3)]
        transaction.inbox_hashes([f"m-{key}" for key in keys])
        transaction.snapshots([f"till-{key}" for key in keys])
        transaction.unpublished([0])
        transaction.add_to_inbox([("m-new", b"")])
        transaction.save_snapshots([("till-new", 1, "{}")])

    store = await SqliteStore.open(path, context="till")
    try:
        await store.transact(work)
    finally:
        await store.close()


def without_threads(work: Coroutine[Any, Any, T]) -> T:
    """Run in virtual time, where SQLite has no thread that a failed open could leave behind."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.executescript("CREATE TABLE customers (name TEXT); INSERT INTO customers VALUES ('Ann')")


def of_version(version: int) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as till_of_another_release:
            till_of_another_release.execute(f"PRAGMA user_version = {version}")

    return change


def overwrite(path: Path, first: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(first)
        file.write(content)


def of_another_schema(path: Path) -> None:
    async def make() -> None:
        await (
            await Database.open(path, schema="CREATE TABLE things (id INTEGER PRIMARY KEY) STRICT", version=1)
        ).close()

    without_threads(make())


FOREIGN_FILES: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "text": (False, lambda path: path.write_text("Dear diary, today" * 99), "not a database; move it away"),
    "another program's": (False, foreign, "not a Chorus database; move it away"),
    "of other tables": (
        False,
        of_another_schema,
        "another context's database, without a table aggregates; move it away",
    ),
    "a directory": (False, lambda path: path.mkdir(), "a directory; move it away"),
    "of a newer Chorus": (True, of_version(99), r"written by a newer Chorus \(schema 99, this one knows 3\); upgrade"),
    "of an older Chorus": (True, of_version(0), "schema 0 is older than 3; move it away and run chorus rebuild till"),
    "its name gone": (True, lambda path: overwrite(path, 0, b"?" * 16), "not a database; move it away"),
    "its head gone": (True, lambda path: overwrite(path, 0, b"\xff" * 100), "not a database; move it away"),
    "its first page gone": (True, lambda path: overwrite(path, 100, b"\xff" * (PAGE - 100)), "malformed; move it away"),
    "its end gone": (True, lambda path: path.write_bytes(path.read_bytes()[: 5 * PAGE]), "malformed; move it away"),
}


class TestForeignFile:
    """R14: a file that is no database of this context is refused with the remedy, and left as it is."""

    @pytest.mark.parametrize(("ours", "make", "problem"), FOREIGN_FILES.values(), ids=FOREIGN_FILES.keys())
    def test_it_is_refused_with_the_file_and_the_remedy(
        self, tmp_path: Path, ours: bool, make: Callable[[Path], object], problem: str
    ) -> None:
        path = tmp_path / "till.db"
        if ours:
            without_threads(fill(path))
        make(path)
        before = path.is_file() and path.read_bytes()
        with pytest.raises(DatabaseError, match=rf"^{path}: .*{problem}"):
            without_threads(use(path))
        assert (path.is_file() and path.read_bytes()) == before

    @pytest.mark.parametrize(("ours", "make", "problem"), FOREIGN_FILES.values(), ids=FOREIGN_FILES.keys())
    def test_refused_file_is_closed_again(
        self, tmp_path: Path, ours: bool, make: Callable[[Path], object], problem: str
    ) -> None:
        """A worker that waits for a locked database retries the open."""
        path = tmp_path / "till.db"
        if ours:
            without_threads(fill(path))
        make(path)
        before = len(os.listdir("/dev/fd"))
        with pytest.raises(DatabaseError, match=problem) as refused:
            without_threads(use(path))
        assert len(os.listdir("/dev/fd")) == before, refused

    @pytest.mark.parametrize("what", ["text", "another program's", "of other tables", "of a newer Chorus"])
    def test_it_is_not_read_beside_a_worker(self, tmp_path: Path, what: str) -> None:
        """`chorus parked` refuses the file, too."""
        ours, make, problem = FOREIGN_FILES[what]
        path = tmp_path / "till.db"
        if ours:
            without_threads(fill(path))
        make(path)
        with pytest.raises(DatabaseError, match=rf"^{path}: .*{problem}"):
            parked_in(SqliteDatabases(tmp_path), ["till"])

    def test_database_of_the_first_schema_is_migrated_and_keeps_its_rows(self, tmp_path: Path) -> None:
        path = tmp_path / "till.db"
        without_threads(fill(path))
        with closing(sqlite3.connect(path)) as old:
            kept = set(old.execute("SELECT * FROM inbox"))
            old.executescript("DROP TABLE refused; DROP TABLE strangers; DROP TABLE answers; PRAGMA user_version = 1")
        with pytest.raises(DatabaseError, match="schema 1 is older than 3; start its worker, which migrates it"):
            parked_in(SqliteDatabases(tmp_path), ["till"])
        without_threads(use(path))
        assert parked_in(SqliteDatabases(tmp_path), ["till"]) == []
        with closing(sqlite3.connect(path)) as migrated:
            assert kept < set(migrated.execute("SELECT * FROM inbox"))

    def test_database_of_another_context_is_refused(self, tmp_path: Path) -> None:
        without_threads(fill(tmp_path / "till.db"))
        (tmp_path / "till.db").rename(tmp_path / "ordering.db")
        with pytest.raises(DatabaseError, match="belongs to till, not to ordering; set CHORUS_DATA_DIR"):
            without_threads(SqliteStore.open(tmp_path / "ordering.db", context="ordering"))
        with pytest.raises(DatabaseError, match="belongs to till, not to ordering; set CHORUS_DATA_DIR"):
            parked_in(SqliteDatabases(tmp_path), ["ordering"])

    def test_command_on_a_locked_database_fails_without_a_traceback(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert report(DatabaseBusyError("till.db: database is locked")) is Exit.NO
        assert capsys.readouterr().err == "chorus: till.db: database is locked\n"

    def test_database_of_a_context_is_refused_for_other_tables(self, tmp_path: Path) -> None:
        without_threads(fill(tmp_path / "till.db"))
        with pytest.raises(DatabaseError, match="another context's database, without a table things; move it away"):
            of_another_schema(tmp_path / "till.db")

    def test_data_directory_that_is_a_file_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "taken").touch()
        with pytest.raises(DatabaseError, match=r"taken.*; set CHORUS_DATA_DIR to another directory"):
            without_threads(SqliteStore.open(tmp_path / "taken" / "till.db", context="till"))

    def test_overwritten_page_is_detected_when_it_is_read(self, tmp_path: Path) -> None:
        without_threads(fill(tmp_path / "till.db"))
        whole = (tmp_path / "till.db").read_bytes()
        chance = random.Random(7)
        told = []
        for first in range(0, len(whole), PAGE):
            path = tmp_path / f"{first}.db"
            path.write_bytes(whole[:first] + chance.randbytes(PAGE) + whole[first + PAGE :])
            try:
                without_threads(use(path))
            except DatabaseError as error:
                told.append(str(error))
        assert len(told) > len(whole) / PAGE / 2
        assert all("move it away" in one for one in told)


class TestOlderCopy:
    """R14: a database that was restored from an older copy lacks events that the stream has."""

    async def test_copy_that_lacks_events_of_its_own_is_refused_until_it_is_rebuilt(
        self, account_url: str, tmp_path: Path
    ) -> None:
        async with standing(account_url, tmp_path) as counter:
            async with running(counter):
                await counter.ring("t-1", 5, "m-1")
                await counter.watcher.until("t-1", "Rung")
            copy(tmp_path / "till.db", tmp_path / "copy")
            async with running(counter):
                await counter.ring("t-1", 6, "m-2")
                await counter.watcher.until("t-1", "Rung", times=2)
            copy(tmp_path / "copy", tmp_path / "till.db")
            await self.refused(counter, "till/till-t-1@2")
            (tmp_path / "till.db").unlink()
            await self.refused(counter, "till/till-t-1@1")
            await rebuild(till(), counter.broker, SqliteDatabases(tmp_path), partitions=PARTITIONS, force=True)
            async with running(counter):
                await counter.ring("t-1", 7)
                await counter.watcher.until("t-1", "Rung", times=3)
            assert counter.totals("t-1") == [5, 11, 18]

    @staticmethod
    async def refused(counter: Counter, stranger: str) -> None:
        with pytest.raises(BaseExceptionGroup) as refused, anyio.fail_after(WITHIN_S):
            async with running(counter):
                await anyio.sleep_forever()
        (error,) = leaves(refused.value)
        assert isinstance(error, DatabaseError)
        assert str(error).startswith(f"EVENTS has {stranger}, which this database does not know")
        assert "run chorus rebuild till --force" in str(error)

    async def test_copy_that_lacks_only_messages_without_consequences_reads_them_again(
        self, account_url: str, tmp_path: Path
    ) -> None:
        async with standing(account_url, tmp_path, remembers=timedelta(milliseconds=100)) as counter:
            async with running(counter):
                await counter.scan("t-1", 1, "scanner/scan-t-1@1")
                await counter.watcher.until("t-1", "Rung")
            copy(tmp_path / "till.db", tmp_path / "copy")
            await stored_again(partial(counter.scan, "t-1", 1, "scanner/scan-t-1@1"))
            async with running(counter) as loop:
                with anyio.fail_after(WITHIN_S):
                    while not loop.counters.duplicates:
                        await counter.broker.stream_info(EVENTS)
            assert tables(tmp_path / "till.db") == tables(tmp_path / "copy")
            assert (tmp_path / "till.db").read_bytes() != (tmp_path / "copy").read_bytes()
            copy(tmp_path / "copy", tmp_path / "till.db")
            async with running(counter):
                await counter.scan("t-1", 2, "scanner/scan-t-1@2")
                await counter.watcher.until("t-1", "Rung", times=2)
            assert counter.totals("t-1") == [1, 3]
