"""A bank that comes back with an older copy of its database, on real processes: who notices it and names it."""

import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.shop import Shop, opened
from tests.forking import run_chorus
from tests.processes import NotReadyError
from tests.waiting import until_answer

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.long,
]

FORGOTTEN = "a service does not know an answer that it gave"


@pytest_asyncio.fixture(loop_scope="session")
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop of its own that has one order behind it, and a copy of its bank from then."""
    async with opened(Shop, tmp_path) as running:
        await running.stock("mug", 10)
        await ship(running, "o-1")
        assert await running.stop("bank") == 0
        shutil.copy(running.data_dir("bank") / "bank.db", running.directory / "older.db")
        yield running


async def ship(shop: Shop, order: str) -> None:
    """Place an order, and go on until it is paid and shipped."""
    await shop.place(order, "mug")
    await shop.until(order, "OrderShipped")


def put_the_copy_back(shop: Shop) -> None:
    """Give a bank that is stopped its older database."""
    for file in shop.data_dir("bank").glob("bank.db*"):
        file.unlink()
    shutil.copy(shop.directory / "older.db", shop.data_dir("bank") / "bank.db")


async def health(shop: Shop, context: str) -> tuple[int, str]:
    """The exit code of `chorus health` on the machine of a context, and its output."""
    ran = await run_chorus("health", context, environ=shop.environment(shop.data_dir(context)))
    return ran.code, ran.output


async def test_bank_that_finds_its_own_events_in_the_stream_does_not_start(shop: Shop) -> None:
    await shop.start("bank")
    await ship(shop, "o-2")
    assert await shop.stop("bank") == 0
    put_the_copy_back(shop)
    with pytest.raises(NotReadyError, match="which this database does not know: it is new or an older copy"):
        await shop.start("bank")
    assert await health(shop, "bank") == (1, "bank: no process of it runs; start it: chorus worker bank\n")


async def test_payments_finds_that_the_bank_has_forgotten_an_answer(shop: Shop) -> None:
    """The bank dies before it has published that the order is paid, so EVENTS cannot tell."""
    await shop.start("bank", failpoint="before-publish")
    await shop.place("o-2", "mug")
    await shop.until("o-2", "PaymentAuthorized")
    await shop.workers["bank"].ended()
    assert (await health(shop, "payments"))[1].count("service") == 0
    put_the_copy_back(shop)
    await shop.start("bank")
    await ship(shop, "o-3")

    async def is_named() -> bool:
        code, said = await health(shop, "payments")
        return code == 1 and "svc.bank.lookup" in said and "older copy of its database" in said

    await until_answer(is_named)
    log = [json.loads(line) for line in shop.workers["payments"].log.read_text().splitlines()]
    assert {line["saga"] for line in log if line["event"] == FORGOTTEN} == {"o-2"}
    (raised,) = [line for line in log if line["event"] == "alarm raised" and line["kind"] == "service"]
    assert "start it with its newest database" in raised["remedy"]
