"""A connection that goes dead with much data under way: the other end reads nothing more, silently."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

from shared.adapters.jetstream import JetStream, connect
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerUnavailableError, Outgoing
from shared.run.server import LocalServer
from tests.waiting import WITHIN_S

MORE_THAN_A_LINE_TAKES = [Outgoing("evt.large", {}, bytes(60_000))] * 300


@asynccontextmanager
async def on_a_line_that_goes_dead(url: str) -> AsyncIterator[JetStream]:
    """A client whose first connection nobody reads any more; its next connection works."""
    where = urlsplit(url)
    lines: list[asyncio.StreamWriter] = []
    dead = asyncio.Event()

    async def forward(source: asyncio.StreamReader, to: asyncio.StreamWriter, until: asyncio.Event) -> None:
        with suppress(OSError):
            while (chunk := await source.read(4096)) and not until.is_set():
                to.write(chunk)
            await asyncio.Event().wait()

    async def serve(from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(where.hostname, where.port)
        until = asyncio.Event() if lines else dead
        lines.extend((to_client, to_server))
        ways = (forward(from_client, to_server, until), forward(from_server, to_client, until))
        forwarding.extend(asyncio.create_task(way) for way in ways)

    forwarding: list[asyncio.Task[None]] = []
    proxy = await asyncio.start_server(serve, "127.0.0.1", 0, limit=4096)
    port = proxy.sockets[0].getsockname()[1]
    broker = await connect(ConnectionOptions(servers=(f"nats://127.0.0.1:{port}",)), name="tests")
    dead.set()
    try:
        yield broker
    finally:
        proxy.close()
        for task in forwarding:
            task.cancel()
        for line in lines:
            line.transport.abort()
        await broker.close()


async def test_what_a_dead_line_has_not_taken_does_not_keep_the_client_and_is_not_sent_later(
    own_nats_server: LocalServer,
) -> None:
    server = await connect(ConnectionOptions(servers=(own_nats_server.url,)), name="tests")
    await server.api("$JS.API.STREAM.CREATE.EVENTS", b'{"name": "EVENTS", "subjects": ["evt.>"]}')
    await server.close()
    async with on_a_line_that_goes_dead(own_nats_server.url) as broker, asyncio.TaskGroup() as tasks:
        tasks.create_task(broker.publish_each(MORE_THAN_A_LINE_TAKES))
        await asyncio.sleep(0.1)
        behind = tasks.create_task(broker.publish_each([Outgoing("evt.small", {}, b"")]))
        await asyncio.sleep(0.1)
        await broker._client.force_reconnect()  # As when a ping is not answered.
        async with asyncio.timeout(WITHIN_S):
            assert isinstance((await behind)[0], BrokerUnavailableError)
            assert (await broker.stream_info("EVENTS")).messages == 0
        assert broker.reconnects == 1
