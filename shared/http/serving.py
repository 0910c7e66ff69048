"""Serves the application until SIGTERM or Ctrl-C, with bounds on connections, headers and idle time."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import anyio
import uvicorn
from starlette.applications import Starlette

CONNECTIONS_AT_MOST: Final = 1_000
HEADER_BYTES_AT_MOST: Final = 16 * 1024
KEEP_ALIVE_S: Final = 5
STOPS_WITHIN_S: Final = 8


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would raise them again, and end the process by one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Starlette, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Answer requests; `ready` gets the URL once. Port 0 takes a free one. Raises OSError when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, port), family=family, backlog=CONNECTIONS_AT_MOST) as listening:
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_AT_MOST,
            h11_max_incomplete_event_size=HEADER_BYTES_AT_MOST,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=STOPS_WITHIN_S,
            http="h11",
            ws="none",
            lifespan="off",
        )
        server = _Server(config)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_stop_on_signal, server)
            shown = f"[{host}]" if ":" in host else host
            ready(f"http://{shown}:{listening.getsockname()[1]}")
            await server.serve(sockets=[listening])
            tasks.cancel_scope.cancel()


async def _stop_on_signal(server: uvicorn.Server) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            server.should_exit = True
