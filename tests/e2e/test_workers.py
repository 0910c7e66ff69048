"""Workers that are killed, doubled, stopped, wrongly configured, and left without a server."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from shared.run.server import LocalServer, local_server
from shared.wire.messages import partition_of
from tests.e2e.ended import Ended
from tests.e2e.orders import PARTITIONS, check_all, orders_of, place_all
from tests.e2e.shop import MEMBERS, Level, Shop, environment
from tests.ledger import problems_of
from tests.processes import spawn
from tests.sagas import CONTEXTS
from tests.waiting import WITHIN_S

pytestmark = pytest.mark.asyncio(loop_scope="session")


class TestKilled:
    """A killed process is started again, and nothing is lost or doubled."""

    @pytest.mark.parametrize(
        ("context", "when"),
        [
            ("payments", "CaptureRequested"),
            ("bank", "AuthorizationRequested"),
            pytest.param("ordering", "InventoryReserved", marks=pytest.mark.long),
            pytest.param("inventory", "OrderPlaced", marks=pytest.mark.long),
            pytest.param("payments", "AuthorizationRequested", marks=pytest.mark.long),
            pytest.param("shipping", "PaymentSucceeded", marks=pytest.mark.long),
            pytest.param("notifications", "OrderPlaced", marks=pytest.mark.long),
        ],
    )
    async def test_worker_killed_in_the_middle_goes_on_where_it_was(
        self, shop: Shop, ended: Ended, order: str, context: str, when: str
    ) -> None:
        orders = orders_of(order, 12)
        await shop.stock(order, 100)
        await place_all(shop, orders, order, token="tok_slow")
        await shop.until(orders[0], when)
        await shop.kill(context)
        await place_all(shop, more := [f"{one}x" for one in orders], order)
        await shop.start(context)
        await check_all(ended, orders, token="tok_slow")
        await check_all(ended, more)
        assert await shop.level(order) == Level(on_hand=100 - 2 * 24, reserved=0)

    async def test_all_workers_killed_at_once_go_on_where_they_were(self, shop: Shop, ended: Ended, order: str) -> None:
        orders = orders_of(order, 12)
        await shop.stock(order, 100)
        await place_all(shop, orders, order)
        await shop.until(orders[-1], "OrderPlaced")
        await shop.kill(*MEMBERS)
        await shop.be_whole()
        await check_all(ended, orders)

    @pytest.mark.long  # tests/chaos/test_broker_faults.py kills the server in every run.
    async def test_server_killed_in_the_middle_is_waited_for(self, shop: Shop, ended: Ended, order: str) -> None:
        orders = orders_of(order, 12)
        await shop.stock(order, 100)
        await place_all(shop, orders, order, token="tok_slow")
        await shop.until(orders[0], "AuthorizationRequested")
        await shop.crash_the_server()
        await shop.start_the_server()
        await check_all(ended, orders, token="tok_slow")
        assert all(worker.running for worker in shop.workers.values())
        assert await shop.level(order) == Level(on_hand=100 - 2 * 12, reserved=0)


class TestShared:
    """Several processes of a context share its partitions and its database."""

    async def test_second_processes_take_over_when_the_first_are_killed(
        self, shop: Shop, ended: Ended, order: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        orders = orders_of(order, 4)
        await shop.stock(order, 100)
        await shop.start_all(*(f"{context}.2" for context in CONTEXTS))
        await shop.kill(*CONTEXTS)
        killed_at = time.monotonic()
        await place_all(shop, orders, order)
        for one in orders:
            await shop.until(one, "OrderShipped")
        took_s = time.monotonic() - killed_at
        with capsys.disabled():
            print(f" [{len(CONTEXTS)} contexts taken over and 4 orders shipped after {took_s:.2f} s]", end="")
        await check_all(ended, orders)

    async def test_processes_race_for_one_sku_and_the_stock_is_right(
        self, shop: Shop, ended: Ended, order: str
    ) -> None:
        orders = orders_of(order, 40)
        await shop.stock(order, 30)
        assert await shop.stop("inventory") == 0
        await shop.start("inventory", "--partitions", "0,1")
        await shop.start("inventory.2", "--partitions", "2,3")
        await place_all(shop, orders, order)
        for one in orders:
            await shop.watcher.until_any(one, "InventoryReserved", "InventoryRejected")
        reserved = [one for one in orders if shop.watcher.types(one)["InventoryReserved"]]
        assert len(reserved) == 15
        await check_all(ended, reserved)
        assert await shop.level(order) == Level(on_hand=0, reserved=0)
        levels = [fact.id for fact in shop.watcher.about(order) if fact.type == "StockLevelChanged"]
        assert levels == [f"inventory/stock-{order}@{version}" for version in range(3, 3 + len(levels))]

    @pytest.mark.long  # tests/unit/bank/test_bank_in_memory.py races them in every run.
    async def test_two_banks_book_on_one_account_from_two_keys_and_lose_nothing(self, shop: Shop, order: str) -> None:
        names = [f"{order}-{number}" for number in range(20)]
        ann = next(name for name in names if partition_of(name, PARTITIONS) in (0, 1))
        bob = next(name for name in names if partition_of(name, PARTITIONS) in (2, 3))
        assert await shop.stop("bank") == 0
        await shop.start("bank", "--partitions", "0,1")
        await shop.start("bank.2", "--partitions", "2,3")
        for account in (ann, bob):
            await shop.send_quickly("bank.OpenAccount", account, {"owner": account})
            salary = {"amount": {"amount_minor": 1000}, "reference": "salary"}
            await shop.send_quickly("bank.Deposit", account, salary)
            await shop.until(account, "Deposited")
        for number in range(20):
            to_ann = {"to": ann, "amount": {"amount_minor": 50}, "reference": f"in-{number}"}
            await shop.send_quickly("bank.Transfer", bob, to_ann)
            spent = {"amount": {"amount_minor": 110}, "reference": f"out-{number}"}
            await shop.send_quickly("bank.Withdraw", ann, spent)

        def is_decided() -> bool:
            types = shop.watcher.types(ann)
            return types["MoneyTransferred"] == types["Withdrawn"] + types["WithdrawalRejected"] == 20

        async with asyncio.timeout(WITHIN_S):
            await shop.watcher.until_true(is_decided)
        books = shop.books()
        assert list(problems_of(books)) == []
        assert books.balances[bob, "EUR"] == (0, 0)
        assert books.balances[ann, "EUR"] == (2000 - 110 * shop.watcher.types(ann)["Withdrawn"], 0)

    async def test_partition_nobody_may_have_waits_while_the_others_flow(
        self, shop: Shop, ended: Ended, order: str
    ) -> None:
        orders = orders_of(order, 12)
        await shop.stock(order, 100)
        assert await shop.stop("payments") == 0
        await shop.start("payments", "--partitions", "0,1")
        await place_all(shop, orders, order)
        served = [one for one in orders if partition_of(one, PARTITIONS) in (0, 1)]
        waiting = [one for one in orders if one not in served]
        await check_all(ended, served)
        assert not any(shop.watcher.types(one)["AuthorizationRequested"] for one in waiting)
        await shop.start("payments.2", "--partitions", "2,3")
        await check_all(ended, waiting)


class TestStopped:
    """A worker that is told to stop finishes its work in flight."""

    async def test_workers_told_to_stop_have_published_what_they_decided(
        self, shop: Shop, ended: Ended, order: str
    ) -> None:
        orders = orders_of(order, 40)
        await shop.stock(order, 100)
        await place_all(shop, orders, order)
        await shop.until(orders[0], "PaymentAuthorized")
        assert await asyncio.gather(*map(shop.stop, CONTEXTS)) == [0] * len(CONTEXTS)
        unpublished = "SELECT count(*) FROM journal WHERE published_seq IS NULL"
        assert [shop.rows(context, unpublished) for context in CONTEXTS] == [[(0,)]] * len(CONTEXTS)
        await shop.be_whole()
        await check_all(ended, orders)

    async def test_workers_told_to_stop_while_the_server_is_away_end_in_time(
        self, shop: Shop, ended: Ended, order: str
    ) -> None:
        orders = orders_of(order, 12)
        await shop.stock(order, 100)
        await place_all(shop, orders, order)
        await shop.until(orders[0], "OrderPlaced")
        await shop.crash_the_server()
        codes = await asyncio.gather(*map(shop.stop, MEMBERS))
        await shop.start_the_server()
        assert codes == [0] * len(MEMBERS)
        await shop.be_whole()
        await check_all(ended, orders)

    async def test_bank_told_to_stop_ends_well(self, shop: Shop) -> None:
        assert await shop.stop("bank") == 0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bare_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalServer]:
    """A server without streams."""
    async with local_server(tmp_path_factory.mktemp("bare")) as server:
        yield server


class TestRefused:
    """A worker that may not run gives the reason in one line, and the exit code for it."""

    async def last_line(self, directory: Path, environ: Mapping[str, str], *arguments: str) -> tuple[int, str]:
        """The exit code of a worker of ordering, and the one line of its output."""
        code, (line,) = await self.lines(directory, environ, *arguments)
        return code, line

    async def lines(self, directory: Path, environ: Mapping[str, str], *arguments: str) -> tuple[int, list[str]]:
        """The exit code of a worker of ordering, and its output."""
        worker = await spawn("ordering", ("contexts.ordering", *arguments), environ, directory / "ordering.log")
        return await worker.ended(), worker.tail.splitlines()

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"order_deadline": "yesterday"}, "CHORUS_ORDER_DEADLINE"),
            ({"oder_deadline": "1m"}, "CHORUS_ORDER_DEADLINE"),
            ({"streams_file": "nowhere.yaml"}, "nowhere.yaml"),
        ],
    )
    async def test_setting_that_cannot_be_used_is_named(
        self, bare_server: LocalServer, tmp_path: Path, settings: dict[str, str], said: str
    ) -> None:
        code, line = await self.last_line(tmp_path, environment(bare_server.url, tmp_path, **settings))
        assert code == 78
        assert said in line

    @pytest.mark.long  # tests/integration/test_connecting.py waits for a broker in every run.
    async def test_broker_that_cannot_be_reached_is_named(self, tmp_path: Path) -> None:
        code, (waits, gives_up) = await self.lines(tmp_path, environment("nats://127.0.0.1:9", tmp_path))
        assert code == 69
        assert "broker away, waiting for it" in waits
        assert "127.0.0.1:9" in gives_up

    async def test_streams_that_are_not_there_say_what_to_run(self, bare_server: LocalServer, tmp_path: Path) -> None:
        code, line = await self.last_line(tmp_path, environment(bare_server.url, tmp_path))
        assert code == 78
        assert "chorus streams apply" in line

    async def test_partition_that_does_not_exist_is_refused(self, shop: Shop, tmp_path: Path) -> None:
        code, line = await self.last_line(tmp_path, shop.environment(tmp_path), "--partitions", "0,4")
        assert code == 78
        assert "partition 4 does not exist" in line

    async def test_database_of_another_context_is_refused(self, shop: Shop, tmp_path: Path) -> None:
        assert await shop.stop("payments") == 0
        (tmp_path / "ordering.db").write_bytes((shop.data_dir("payments") / "payments.db").read_bytes())
        code, line = await self.last_line(tmp_path, shop.environment(tmp_path))
        assert code == 78
        assert "belongs to payments" in line


async def test_nothing_was_said_after_the_end_of_any_saga(ended: Ended) -> None:
    ended.check_again()
