"""Runs each contract test twice: the real adapters in real time, their twins in virtual time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import pytest
import pytest_asyncio

from shared.adapters.virtual_time import VirtualLoop
from shared.ports.broker import Broker
from tests.contract.brokers import BrokerServer, empty_server, tills


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each asynchronous test runs once in each of these loops."""
    del item
    return {"real": asyncio.SelectorEventLoop, "virtual": VirtualLoop}


@pytest_asyncio.fixture
async def server(account_url: str) -> AsyncIterator[BrokerServer]:
    async with empty_server(account_url) as empty:
        await empty.apply(tills())
        yield empty


@pytest_asyncio.fixture
async def broker(server: BrokerServer) -> Broker:
    return await server.connect()
