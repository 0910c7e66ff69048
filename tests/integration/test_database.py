"""Databases that are locked, full, corrupt, foreign, outdated or lost."""

import asyncio
import json
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import pytest
import pytest_asyncio

from contexts.bank import effects as bank
from shared.adapters.sqlite.database import BUSY_TIMEOUT_MS, Database
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
from tests.e2e.shop import Shop, opened
from tests.forking import ForkedProcess, fork, run_chorus, run_module
from tests.integration.engine import PARTITIONS, Counter, running, standing
from tests.integration.till import till
from tests.sagas import CONTEXTS
from tests.waiting import WITHIN_S, until

T = TypeVar("T")

PAGE = 4096
PASSWORD: Final = "hush-7Qk2"

CAPTURED = {"ordering.OrderConfirmed": 1, "payments.PaymentSucceeded": 1}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One shop for all tests of the module; each test leaves all its workers running."""
    async with opened(Shop, tmp_path_factory.mktemp("shop"), refund_retry_delay="100ms", drain_timeout="1s") as shop:
        yield shop


@pytest_asyncio.fixture(loop_scope="module")
async def whole(shop: Shop) -> Shop:
    """The shop with a process for each context."""
    await shop.be_whole()
    return shop


class Process:
    """A worker process that a test can limit."""

    def __init__(self, process: ForkedProcess, log: Path) -> None:
        self.pid = process.pid
        self.log = log
        self.process = process

    async def said(self, *words: str, times: int = 1) -> str:
        """Wait until `times` lines of its log have all the words; returns the last one."""

        def lines() -> list[str]:
            return [line for line in self.log.read_text().splitlines() if all(word in line for word in words)]

        await until(lambda: len(lines()) >= times, f"{times} lines of {self.log} have {words}")
        return lines()[times - 1]

    async def ended(self) -> int:
        """Wait until it has ended; returns its exit code."""
        with anyio.fail_after(WITHIN_S):
            return await self.process.wait()


@asynccontextmanager
async def process(shop: Shop, context: str, **variables: str) -> AsyncIterator[Process]:
    """Replace a running worker of the shop by one with umask 0."""
    await shop.stop(context)
    log = shop.directory / f"{context}.own.log"
    environ = {**shop.environ, "CHORUS_DATA_DIR": str(shop.data_dir(context)), "CHORUS_LOG_FORMAT": "json", **variables}
    with log.open("wb") as output:
        own = await fork((f"contexts.{context}",), environ, output, umask=0)
    try:
        yield Process(own, log)
    finally:
        own.send_signal(signal.SIGTERM)
        await own.wait()


@pytest.mark.asyncio(loop_scope="module")
class TestBusy:
    """R13: a worker waits for a database that cannot be written now; it acknowledges nothing and loses nothing."""

    async def test_locked_database_is_waited_for_while_the_others_go_on(self, whole: Shop) -> None:
        await self.locked_for(whole, "lock", times=1)

    @pytest.mark.long
    async def test_worker_waits_for_a_database_that_is_locked_for_half_a_minute(self, whole: Shop) -> None:
        await self.locked_for(whole, "longlock", times=6)

    @staticmethod
    async def locked_for(shop: Shop, sku: str, *, times: int) -> None:
        """Keep the lock for the time of this many attempts of the worker, each of which waits for five seconds."""
        async with process(shop, "inventory") as inventory:
            await inventory.said("ready")
            await shop.stock(sku, 4)
            with closing(sqlite3.connect(shop.data_dir("inventory") / "inventory.db", isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                await shop.place(f"o-{sku}", sku, quickly=True)
                await shop.until(f"o-{sku}", "PaymentAuthorized")
                line = await inventory.said("alarm raised", "database is locked")
                assert json.loads(line)["kind"] == "database"
                await anyio.sleep((times - 1) * BUSY_TIMEOUT_MS / 1_000)
                assert "InventoryReserved" not in shop.watcher.types(f"o-{sku}")
                other.execute("ROLLBACK")
            await shop.until(f"o-{sku}", "OrderShipped")
            assert shop.watcher.types(f"o-{sku}")["InventoryReserved"] == 1
            assert json.loads(await inventory.said("alarm cleared"))["count"] >= min(times, 2)
            assert inventory.log.read_text().count("database is locked") == 1

    async def test_disk_that_is_full_is_waited_for_until_there_is_space(self, whole: Shop) -> None:
        async with process(whole, "inventory") as inventory:
            await inventory.said("ready")
            for number in range(60):
                await whole.send_quickly(
                    "inventory.RegisterStockItem", f"full-{number}", {"name": "x" * 400, "unit_price": PRICE}
                )
            await whole.until("full-59", "StockItemRegistered")
            log = whole.data_dir("inventory") / "inventory.db-wal"
            unlimited = resource.prlimit(inventory.pid, resource.RLIMIT_FSIZE)
            resource.prlimit(inventory.pid, resource.RLIMIT_FSIZE, (log.stat().st_size, unlimited[1]))
            await whole.send_quickly("inventory.ReplenishStock", "full-1", {"quantity": 4, "delivery_id": "d-1"})
            await inventory.said("alarm raised", '"database"')
            assert "StockReplenished" not in whole.watcher.types("full-1")
            resource.prlimit(inventory.pid, resource.RLIMIT_FSIZE, unlimited)
            await whole.until("full-1", "StockLevelChanged")
            assert json.loads(await inventory.said("alarm cleared"))["subject"] == "inventory.db"
            assert await integrity(whole, "inventory") == "ok"

    async def test_worker_that_starts_while_the_database_is_locked_waits(self, whole: Shop) -> None:
        path = whole.data_dir("shipping") / "shipping.db"
        await whole.stop("shipping")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            async with process(whole, "shipping") as shipping:
                await shipping.said("ready")
                await whole.stock("early", 9)
                await whole.place("o-early", "early", quickly=True)
                await whole.until("o-early", "OrderConfirmed")
                other.execute("ROLLBACK")
                await whole.until("o-early", "OrderShipped")


async def integrity(shop: Shop, context: str) -> str:
    return str(shop.rows(context, "PRAGMA integrity_check")[0][0])


PRICE = {"amount_minor": 250, "currency": "EUR"}


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


def of_the_bank(path: Path) -> None:
    async def make() -> None:
        await (await Database.open(path, schema=bank.SCHEMA, version=bank.SCHEMA_VERSION)).close()

    without_threads(make())


FOREIGN_FILES: dict[str, tuple[bool, Callable[[Path], object], str]] = {
    "text": (False, lambda path: path.write_text("Dear diary, today" * 99), "not a database; move it away"),
    "another program's": (False, foreign, "not a Chorus database; move it away"),
    "the bank's": (False, of_the_bank, "another context's database, without a table aggregates; move it away"),
    "a directory": (False, lambda path: path.mkdir(), "a directory; move it away"),
    "of a newer Chorus": (True, of_version(99), r"written by a newer Chorus \(schema 99, this one knows 2\); upgrade"),
    "of an older Chorus": (True, of_version(0), "schema 0 is older than 2; move it away and run chorus rebuild"),
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

    @pytest.mark.parametrize("what", ["text", "another program's", "the bank's", "of a newer Chorus"])
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
            old.executescript("DROP TABLE refused; DROP TABLE strangers; PRAGMA user_version = 1")
        with pytest.raises(DatabaseError, match="schema 1 is older than 2; start its worker, which migrates it"):
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

    def test_bank_refuses_a_database_of_a_context(self, tmp_path: Path) -> None:
        without_threads(fill(tmp_path / "bank.db"))
        with pytest.raises(DatabaseError, match="another context's database, without a table accounts; move it away"):
            of_the_bank(tmp_path / "bank.db")

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


def copy(source: Path, target: Path) -> None:
    """Copy a closed database."""
    assert not source.with_name(f"{source.name}-wal").exists()
    shutil.copy(source, target)


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
                await counter.scan("t-1", 1, "scanner/scan-1@1")
                await counter.watcher.until("t-1", "Rung")
            copy(tmp_path / "till.db", tmp_path / "copy")
            with anyio.fail_after(WITHIN_S):
                while (await counter.scan("t-1", 1, "scanner/scan-1@1")).duplicate:
                    pass
            async with running(counter) as loop:
                with anyio.fail_after(WITHIN_S):
                    while not loop.duplicates:
                        await counter.broker.stream_info(EVENTS)
            assert tables(tmp_path / "till.db") == tables(tmp_path / "copy")
            assert (tmp_path / "till.db").read_bytes() != (tmp_path / "copy").read_bytes()
            copy(tmp_path / "copy", tmp_path / "till.db")
            async with running(counter):
                await counter.scan("t-1", 2, "scanner/scan-2@1")
                await counter.watcher.until("t-1", "Rung", times=2)
            assert counter.totals("t-1") == [1, 3]


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


@pytest.mark.asyncio(loop_scope="module")
class TestShop:
    """The databases of a running shop."""

    async def test_payments_from_an_older_copy_refuses_and_after_a_rebuild_nobody_is_charged_twice(
        self, whole: Shop
    ) -> None:
        shop = whole
        await shop.stock("cup", 50)
        await shop.place("o-first", "cup", quickly=True)
        await shop.until("o-first", "OrderShipped")
        await shop.stop("payments")
        path = shop.data_dir("payments") / "payments.db"
        copy(path, path.with_name("copy"))
        await shop.start("payments")
        await shop.place("o-second", "cup", quickly=True)
        await shop.until("o-second", "OrderShipped")
        await shop.stop("payments")
        newest = tables(path)
        copy(path.with_name("copy"), path)
        async with process(shop, "payments") as payments:
            assert await payments.ended() == 78
            told = await payments.said("payments/payment-o-second@1")
            assert "run chorus rebuild payments --force" in told
        assert shop.ledger("o-second") == ["capture"]
        told = await chorus(shop, "rebuild", "payments", "--force", CHORUS_DATA_DIR=str(path.parent))
        assert "payments.db holds" in told
        assert "the old one is" in told
        assert same_but_quiet(tables(path), newest)
        await shop.start("payments")
        await shop.place("o-third", "cup", quickly=True, postal_code="0000")
        await shop.until("o-third", "PaymentRefunded")
        assert [shop.ledger(order) for order in ("o-first", "o-second", "o-third")] == [
            ["capture"], ["capture"], ["capture", "refund"],
        ]  # fmt: skip

    async def test_every_context_is_rebuilt_byte_for_byte_and_goes_on(self, whole: Shop, tmp_path: Path) -> None:
        shop = whole
        await shop.stock("pot", 20)
        await shop.place("o-good", "pot", quickly=True)
        await shop.place("o-poor", "pot", token="tok_poor", quickly=True)
        await shop.place("o-nowhere", "pot", postal_code="0000", quickly=True)
        await shop.place("o-many", "pot", quantity=999, quickly=True)
        await shop.place("o-norefund", "pot", token="tok_norefund", postal_code="0000", quickly=True)
        await shop.send_quickly("ordering.PlaceOrder", "o-bad", {"lines": 1})
        await shop.until("o-bad", "CommandRejected")
        await shop.until("o-good", "CustomerNotified", times=3)
        for order in ("o-poor", "o-many"):
            await shop.until(order, "CustomerNotified", times=2)
        for order, letters_sent in (("o-nowhere", 5), ("o-norefund", 6)):
            await shop.until(order, "CustomerNotified", times=letters_sent)
        for context in CONTEXTS:
            assert await shop.stop(context) == 0
        said = len(shop.watcher.facts)
        letters = {order: shop.mails(order) for order in ("o-good", "o-poor", "o-nowhere")}
        for context in CONTEXTS:
            path = shop.data_dir(context) / f"{context}.db"
            before = tables(path)
            await chorus(shop, "rebuild", context, CHORUS_DATA_DIR=str(tmp_path))
            after = tables(tmp_path / f"{context}.db")
            assert same_but_quiet(after, before), context
            for stale in path.parent.glob(f"{context}.db*"):
                stale.unlink()
            copy(tmp_path / f"{context}.db", path)
        await shop.be_whole()
        await shop.place("o-after", "pot", quickly=True)
        await shop.until("o-after", "CustomerNotified", times=3)
        assert {fact.key for fact in shop.watcher.facts[said:]} == {"o-after", "pot"}
        assert {order: shop.mails(order) for order in letters} == letters
        assert [shop.ledger(order) for order in ("o-good", "o-poor", "o-nowhere", "o-after")] == [
            ["capture"], [], ["capture", "refund"], ["capture"],
        ]  # fmt: skip

    async def test_nobody_else_may_read_what_a_worker_writes(self, whole: Shop) -> None:
        """Even with umask 0."""
        async with process(whole, "notifications") as notifications:
            await notifications.said("ready")
            await whole.stock("key", 9)
            await whole.place("o-key", "key", quickly=True)
            await whole.until("o-key", "CustomerNotified", times=3)
            files = list(entries(whole.data_dir("notifications")))
            names = {file.name for file in files}
            assert {f"notifications.{end}" for end in ("db", "db-wal", "db-shm", "db.lock")} <= names
            assert any(name.startswith("notifications@") and name.endswith(".health") for name in names)
            assert "o-key-order_received.eml" in names
            readable = [str(file) for file in files if stat.S_IMODE(file.stat().st_mode) & 0o077]
            assert readable == []

    async def test_no_log_tells_a_secret(self, whole: Shop) -> None:
        url = whole.url.replace("nats://", f"nats://shop:{PASSWORD}@")
        secrets = {
            "NATS_URL": url,
            "CHORUS_SMTP_URL": f"smtp://shop:{PASSWORD}@127.0.0.1:1",
            "CHORUS_LOG_LEVEL": "debug",
        }
        async with process(whole, "notifications", **secrets) as notifications:
            await notifications.said("ready")
            await whole.stock("safe", 9)
            await whole.place("o-safe", "safe", quickly=True)
            await notifications.said("outcome unknown", times=2)
            assert PASSWORD not in notifications.log.read_text()
        wrong = (
            {"NATS_URL": f"nats://shop:{PASSWORD}@127.0.0.1:1"},
            {"NATS_URL": f"nats://shop:{PASSWORD}/@127.0.0.1:4222"},
            {"CHORUS_SMTP_URL": f"smtp://shop:{PASSWORD}/@mail"},
        )
        ended = await asyncio.gather(*(self.ended_with(whole, {**secrets, **variables}) for variables in wrong))
        assert [code for code, _ in ended] == [69, 78, 78]
        assert [PASSWORD in said for _, said in ended] == [False] * 3
        for (_, said), place in zip(ended, ("127.0.0.1:1", "NATS_URL", "CHORUS_SMTP_URL"), strict=True):
            assert place in said

    @staticmethod
    async def ended_with(shop: Shop, variables: Mapping[str, str]) -> tuple[int, str]:
        """Start a worker of notifications with a wrong setting; returns its exit code and output."""
        ran = await run_module("contexts.notifications", environ={**shop.environ, **variables})
        return ran.code, ran.output + ran.errors


async def chorus(shop: Shop, *words: str, **variables: str) -> str:
    """Run a command as an operator would."""
    ran = await run_chorus(*words, environ={**shop.environ, **variables})
    assert ran.code == 0, ran.errors
    return ran.output


def entries(directory: Path) -> Iterator[Path]:
    """The directory and all its entries."""
    yield directory
    yield from directory.rglob("*")


def tables(path: Path) -> dict[str, Any]:
    """The decided state in a closed database."""
    with closing(sqlite3.connect(path)) as database:
        columns = "event_id, aggregate, version, subject, type, headers, body, partition"
        return {
            "aggregates": database.execute("SELECT id, version, state FROM aggregates ORDER BY id").fetchall(),
            "journal": database.execute(f"SELECT {columns} FROM journal ORDER BY event_id").fetchall(),
            "published": database.execute(
                "SELECT event_id, published_seq FROM journal WHERE subject LIKE 'evt.%' ORDER BY event_id"
            ).fetchall(),
            "effects": database.execute("SELECT event_id FROM effects ORDER BY event_id").fetchall(),
            "inbox": dict(database.execute("SELECT message_id, hash FROM inbox").fetchall()),
            "causes": {
                cause
                for (cause,) in database.execute("SELECT json_extract(headers, '$.\"Causation-Id\"') FROM journal")
            },
        }


def same_but_quiet(rebuilt: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether two databases are equal, except for inbox entries of messages that led to nothing."""
    inbox, inbox_before = rebuilt.pop("inbox"), known.pop("inbox")
    assert rebuilt == known
    assert inbox.items() <= inbox_before.items()
    assert not (inbox_before.keys() - inbox.keys()) & known["causes"]
    return True
