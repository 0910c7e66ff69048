"""The nats-server that Chorus starts."""

from pathlib import Path

import anyio
import nats
import pytest

from shared.ports.broker import BrokerUnavailableError
from shared.run.server import LocalServer, ServerError, check_sync_always, local_server, query_monitor
from tests.integration.monitors import monitor


async def stored(url: str) -> list[str]:
    """The names of the streams on a server."""
    client = await nats.connect(url)
    try:
        return [stream.config.name or "" for stream in await client.jetstream().streams_info()]
    finally:
        await client.close()


async def store(url: str, name: str) -> None:
    client = await nats.connect(url)
    try:
        await client.jetstream().add_stream(name=name, subjects=[name])
    finally:
        await client.close()


async def test_it_syncs_before_it_acknowledges(nats_server: LocalServer) -> None:
    await check_sync_always(nats_server.monitor_url)


async def test_a_server_that_syncs_later_is_reported(tmp_path: Path) -> None:
    async with local_server(tmp_path, sync_always=False) as server:
        with pytest.raises(ServerError, match="sync_interval: always"):
            await check_sync_always(server.monitor_url)


async def test_without_a_monitor_nothing_is_said() -> None:
    await check_sync_always(None)


async def test_a_monitor_that_is_not_there_is_reported() -> None:
    with pytest.raises(BrokerUnavailableError, match="no answer from the monitor"):
        await check_sync_always("http://127.0.0.1:9")


async def test_a_monitor_with_an_https_url_is_asked_over_tls() -> None:
    with monitor() as plain, pytest.raises(BrokerUnavailableError, match="SSL"):
        await query_monitor(plain.url.replace("http:", "https:"), "/healthz")


async def test_it_listens_on_loopback_only(nats_server: LocalServer) -> None:
    assert nats_server.url.startswith("nats://127.0.0.1:")
    assert nats_server.monitor_url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_streams_survive_its_end_and_the_port_can_be_kept(tmp_path: Path, end: str) -> None:
    async with local_server(tmp_path) as server:
        await store(server.url, "KEPT")
        await (server.stop() if end == "stop" else server.kill())
        assert await server.wait() != 0 or end == "stop"
    port = int(server.url.rpartition(":")[2])
    async with local_server(tmp_path, port=port) as again:
        assert again.url == server.url
        assert await stored(again.url) == ["KEPT"]


async def test_a_directory_has_one_server_at_a_time(tmp_path: Path) -> None:
    async with local_server(tmp_path):
        with pytest.raises(ServerError, match="is used by another server"):
            async with local_server(tmp_path):
                pass
    async with local_server(tmp_path):
        pass


async def test_a_port_that_is_taken_is_reported(tmp_path: Path, nats_server: LocalServer) -> None:
    taken = int(nats_server.url.rpartition(":")[2])
    with pytest.raises(ServerError, match="address already in use"):
        async with local_server(tmp_path, port=taken):
            pass


async def test_it_ends_with_its_block_even_when_that_is_cancelled(tmp_path: Path) -> None:
    with anyio.CancelScope() as scope:
        async with local_server(tmp_path) as server:
            scope.cancel()
            await anyio.sleep_forever()
    assert await server.wait() is not None
