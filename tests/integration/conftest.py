"""Real servers on free ports that sync before they acknowledge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from shared.run.server import LocalServer, local_server


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
