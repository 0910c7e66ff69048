"""Concurrent requests: a caller that stops waiting leaves nothing behind."""

import asyncio
import gc
from typing import Any

import pytest

from shared.adapters.jetstream import connect
from shared.config.connection import ConnectionOptions
from shared.run.server import LocalServer


async def test_who_stops_waiting_leaves_nothing_behind(nats_server: LocalServer) -> None:
    """One answer came and is an error; the other never comes."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, complaint: complaints.append(complaint))
    broker = await connect(ConnectionOptions(servers=(nats_server.url,)), name="tests")
    client = broker._client
    try:
        await client.hear("silent", lambda _: None)
        asking = asyncio.create_task(client.ask_each([("silent", None, b""), ("nobody", None, b"")], timeout_s=5))
        await asyncio.sleep(0.1)
        asking.cancel()
        await asyncio.wait([asking])
        del asking
        with pytest.raises(ValueError, match="line break"):
            await client.ask_each([("silent", None, b""), ("silent", {"name": "a\nb"}, b"")], timeout_s=5)
        gc.collect()
        await asyncio.sleep(0)
        assert not client._asked
        assert complaints == []
    finally:
        await broker.close()
