"""A TCP proxy on loopback between clients and a server, whose connections can be cut or go dead silently."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Literal
from urllib.parse import urlsplit

CHUNK = 64 * 1024

Way = Literal["to the server", "to the client"]
Watch = Callable[[Way, bytes], None]


class Proxy:
    """Forwards every byte, until it is told otherwise."""

    def __init__(self, server_url: str) -> None:
        self.url = ""
        self.accepted = 0
        self._server_url = server_url
        self._watch: Watch | None = None
        self._dead = asyncio.Event()
        self._lines: set[asyncio.StreamWriter] = set()
        self._news = asyncio.Event()

    async def until_accepted(self, connections: int) -> None:
        """Wait until this many connections were accepted."""
        while self.accepted < connections:
            await self._news.wait()

    def watch(self, watch: Watch | None) -> None:
        """Call `watch` with every chunk before forwarding it; when it cuts the connection, the chunk is lost."""
        self._watch = watch

    def cut(self) -> None:
        """Abort every connection, as a crashing machine does."""
        for line in list(self._lines):
            line.transport.abort()

    def go_dead(self) -> None:
        """Forward nothing more on the present connections, silently; new connections work."""
        self._dead.set()
        self._dead = asyncio.Event()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Serve one connection until either end closes it."""
        self.accepted += 1
        self._news.set()
        self._news = asyncio.Event()
        where = urlsplit(self._server_url)
        try:
            server, to_server = await asyncio.open_connection(where.hostname, where.port)
        except OSError:
            to_client.transport.abort()
            return
        self._lines |= {to_client, to_server}
        dead = self._dead
        forwarding = [
            asyncio.create_task(self._forward("to the server", client, to_server, dead)),
            asyncio.create_task(self._forward("to the client", server, to_client, dead)),
        ]
        try:
            await asyncio.wait(forwarding, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in forwarding:
                task.cancel()
            for line in (to_client, to_server):
                self._lines.discard(line)
                line.transport.abort()

    async def _forward(
        self, way: Way, source: asyncio.StreamReader, to: asyncio.StreamWriter, dead: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while chunk := await source.read(CHUNK):
                if self._watch is not None:
                    self._watch(way, chunk)
                if dead.is_set():
                    continue  # Taken, and never delivered: the sender's machine believes that all is well.
                if to.transport.is_closing():
                    return
                to.write(chunk)
                await to.drain()


@asynccontextmanager
async def proxied(server_url: str) -> AsyncIterator[Proxy]:
    """A proxy before a server, whose clients use `url`."""
    proxy = Proxy(server_url)
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"nats://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listening.close()
        proxy.cut()
        await listening.wait_closed()
