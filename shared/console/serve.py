"""Serves the console until it is cancelled: binds its address, follows EVENTS, and runs the web server."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
import uvicorn

from shared.console.app import application
from shared.console.console import Console
from shared.console.tls import Certificate

ENDS_WITHIN_S: Final = 1
"""Open pages wait for news for ever, so the server waits no longer for them when it ends."""
BACKLOG: Final = 128
CONNECTIONS_AT_MOST: Final = 300


class AddressTakenError(Exception):
    """The console cannot bind its address; the text says which, and why."""


class _Server(uvicorn.Server):
    """A server that leaves the signals to the command."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, port 0 being any that is free; raises AddressTakenError."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        raise AddressTakenError(f"the console cannot answer on {host}:{port}: {reason}") from error


async def serve(
    console: Console, listener: socket.socket, on_ready: Callable[[], None], *, tls: Certificate | None = None
) -> None:
    """Serve until cancelled, with `tls` encrypted. `on_ready` is called once a browser can load pages."""
    config = uvicorn.Config(
        application(console),
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=ENDS_WITHIN_S,
        limit_concurrency=CONNECTIONS_AT_MOST,
        ssl_certfile=None if tls is None else tls.cert,
        ssl_keyfile=None if tls is None else str(tls.key),
    )
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(console.tail.run)
        tasks.start_soon(console.keep_pinging)
        ended = anyio.Event()

        async def run() -> None:
            with anyio.CancelScope(shield=True):
                await server.serve([listener])
            ended.set()

        tasks.start_soon(run)
        on_ready()  # The socket listens already: what comes before the server runs waits in its backlog.
        try:
            await anyio.sleep_forever()
        finally:
            server.should_exit = True
            with anyio.CancelScope(shield=True), anyio.move_on_after(2 * ENDS_WITHIN_S):
                await ended.wait()
            listener.close()
