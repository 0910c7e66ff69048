"""Stages; when a test fails, the end of each worker's log is shown."""

import os
import random
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.stage import Stage
from tests.conftest import SEED
from tests.e2e.conftest import pytest_runtest_makereport as pytest_runtest_makereport
from tests.e2e.ended import Ended
from tests.e2e.shop import opened


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def open_stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One for most of the tests here; it ends with the last of them, because idle workers cost CPU as well."""
    directory = tmp_path_factory.mktemp("chaos")
    async with opened(Stage, directory, bank_slow="400ms", effect_timeout="1s", refund_retry_delay="400ms") as stage:
        yield stage


@pytest_asyncio.fixture(loop_scope="session")
async def stage(open_stage: Stage) -> Stage:
    """The stage of the package, with a process for each context again."""
    await open_stage.be_whole()
    return open_stage


@pytest.fixture(scope="package")
def ended(open_stage: Stage) -> Ended:
    """The sagas of the stage that have ended."""
    return Ended(open_stage)


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Chance with the seed of the run."""
    return random.Random(f"{os.environ[SEED]} {request.node.name}")
