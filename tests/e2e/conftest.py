"""Shops to order from; when a test fails, the end of each worker's log is shown."""

import os
import re
from collections.abc import AsyncIterator, Generator

import pytest
import pytest_asyncio

from shared.wire.messages import content_hash
from tests.e2e.ended import Ended
from tests.e2e.shop import NATS_CLI, Shop, open_shops, opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed:
        for shop in open_shops:
            report.sections.extend((f"log of {name}", tail) for name, tail in shop.tails.items())
    return report


@pytest.fixture(scope="session", autouse=True)
def nats_cli() -> None:
    """Where the `nats` command is required, its absence is a failure."""
    if os.environ.get("CHORUS_REQUIRE_NATS_CLI") == "1":
        assert NATS_CLI is not None, "CHORUS_REQUIRE_NATS_CLI=1, and there is no nats command on the PATH"


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def open_shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One for all tests here; it ends with the last of them, because idle workers cost CPU as well."""
    directory = tmp_path_factory.mktemp("shop")
    async with opened(
        Shop, directory, bank_slow="400ms", effect_timeout="1s", refund_retry_delay="100ms", drain_timeout="2s"
    ) as shop:
        yield shop


@pytest_asyncio.fixture(loop_scope="session")
async def shop(open_shop: Shop) -> Shop:
    """The shop of the package, with a process for each context again."""
    await open_shop.be_whole()
    return open_shop


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hasty_shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """One where orders expire soon, while no parcel leaves for an hour."""
    directory = tmp_path_factory.mktemp("hasty")
    async with opened(Shop, directory, order_deadline="1500ms", dispatch_delay="1h", bank_slow="700ms") as shop:
        yield shop


@pytest.fixture(scope="package")
def ended(open_shop: Shop) -> Ended:
    """The sagas of the shop that have ended."""
    return Ended(open_shop)


@pytest.fixture(scope="module")
def ended_hastily(hasty_shop: Shop) -> Ended:
    """The sagas of the hasty shop that have ended."""
    return Ended(hasty_shop)


@pytest.fixture
def order(request: pytest.FixtureRequest) -> str:
    """An order of this test's own, with room for a number behind it."""
    name = re.sub("[^A-Za-z0-9_]", "-", request.node.name.removeprefix("test_"))
    return f"o-{name[:40]}-{content_hash(name.encode()).hex()[:6]}"
