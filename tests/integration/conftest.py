"""Servers that sync before they acknowledge, and counters on them, for the tests of this tier."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from shared.run.server import LocalServer, local_server
from tests.integration.engine import Counter, standing

FORGETFUL = timedelta(milliseconds=100)
"""The shortest time for which a server can be told to remember ids."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nats_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalServer]:
    """A server for tests that need no streams of their own."""
    async with local_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest_asyncio.fixture
async def own_nats_server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    """An empty server for this test alone."""
    async with local_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    """A counter on an empty server; no worker runs yet."""
    async with standing(account_url, tmp_path) as counter:
        yield counter


@pytest.fixture
async def forgetful_counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    """A counter whose server stores a message again soon after it stored one with the same id."""
    async with standing(account_url, tmp_path, remembers=FORGETFUL) as counter:
        yield counter
