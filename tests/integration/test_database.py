"""The databases of a running shop: locked, full, of an older copy, rebuilt, and readable by their owner only."""

import asyncio
import json
import resource
import signal
import sqlite3
import stat
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
import pytest_asyncio

from shared import catalog
from shared.adapters.sqlite.database import BUSY_TIMEOUT_MS
from shared.config.settings import Settings
from tests.e2e.shop import MEMBERS, Shop, opened
from tests.forking import ForkedProcess, fork, run_chorus, run_module
from tests.integration.databases import copy, tables
from tests.waiting import WITHIN_S, until

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
        for context in MEMBERS:
            assert await shop.stop(context) == 0
        said = len(shop.watcher.facts)
        letters = {order: shop.mails(order) for order in ("o-good", "o-poor", "o-nowhere")}
        for context in catalog.contexts(Settings()):
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
        about = {"o-after", "pot", "pay-o-after", "tok_ok_o-after", "merchant"}
        with anyio.fail_after(WITHIN_S):  # No order waits for the events of articles and accounts.
            await shop.watcher.until_true(lambda: about <= {fact.key for fact in shop.watcher.facts[said:]})
        assert {fact.key for fact in shop.watcher.facts[said:]} == about
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


def same_but_quiet(rebuilt: dict[str, Any], known: dict[str, Any]) -> bool:
    """Whether two databases are equal, except for messages and requests that led to nothing."""
    for table in ("inbox", "answers"):
        kept, before = rebuilt.pop(table), known.pop(table)
        assert kept.items() <= before.items()
        assert not (before.keys() - kept.keys()) & known["causes"]
    assert rebuilt == known
    return True
