"""Serves the application until SIGTERM or Ctrl-C, with bounds on connections, headers and idle time."""

import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

import anyio
import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from shared.http.reading import HEADER_BYTES_AT_MOST

CONNECTIONS_AT_MOST: Final = 1_000
HEADERS_WITHIN_S: Final = 10.0
KEEP_ALIVE_S: Final = 5
STOPS_WITHIN_S: Final = 8


class _Server(uvicorn.Server):
    """Leaves the signals to us: uvicorn would raise them again, and end the process by one."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Protocol(H11Protocol):
    """Closes a connection that does not send its headers in time: uvicorn waits for them for ever."""

    def __init__(self, *arguments: Any, headers_within_s: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._headers_within_s = headers_within_s

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._look_again(None)

    def _look_again(self, seen: object) -> None:
        self.loop.call_later(self._headers_within_s, self._close_unless_asked, seen)

    def _close_unless_asked(self, seen: object) -> None:
        """Close when no request has come since the last look; `seen` was the request then."""
        if self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE and self.cycle is seen:
            self.transport.close()
        else:
            self._look_again(self.cycle)


async def serve(
    app: Starlette,
    host: str,
    port: int,
    ready: Callable[[str], None],
    *,
    headers_within_s: float = HEADERS_WITHIN_S,
) -> None:
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
            http=partial(_Protocol, headers_within_s=headers_within_s),  # type: ignore[arg-type]
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
