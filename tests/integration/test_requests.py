"""Requests side by side: an abandoned request leaves nothing behind."""

import asyncio
import gc
from typing import Any

import pytest

from shared.adapters.jetstream import connect
from shared.config.connection import ConnectionOptions
from shared.run.server import LocalServer


async def test_cancelled_and_failed_requests_leave_nothing_behind(nats_server: LocalServer) -> None:
    """Of two cancelled requests, one has failed and the other never gets an answer."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    broker = await connect(ConnectionOptions(servers=(nats_server.url,)), name="tests")
    client = broker._client
    try:
        await client.listen("silent", lambda _: None)
        call = asyncio.create_task(client.send_requests([("silent", None, b""), ("nobody", None, b"")], timeout_s=5))
        await asyncio.sleep(0.1)
        call.cancel()
        await asyncio.wait([call])
        del call
        with pytest.raises(ValueError, match="line break"):
            await client.send_requests([("silent", None, b""), ("silent", {"name": "a\nb"}, b"")], timeout_s=5)
        gc.collect()
        await asyncio.sleep(0)
        assert not client._pending_answers
        assert reported == []
    finally:
        await broker.close()
