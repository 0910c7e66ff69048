"""One endpoint of a service, on the connection of the process that serves it.

Each request is an asyncio task: it begins in a callback of the virtual loop, outside of any anyio task group.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from shared.adapters.memory.link import Link, Reply
from shared.context import Answer, Request


class MemoryEndpoint:
    """Answers the requests to one subject."""

    def __init__(self, link: Link, handle: Callable[[Request], Awaitable[Answer | None]]) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._link = link
        self._handle = handle

    def handle(self, request: Request, reply: Reply[tuple[Mapping[str, str], bytes]]) -> None:
        """Called by the server with a request; `reply` leads back to its client."""

        async def answer() -> None:
            answered = await self._handle(request)
            if answered is None:
                return
            code, text = answered.error or ("", "")
            error = {"Nats-Service-Error-Code": code, "Nats-Service-Error": text}
            headers = error if answered.error else dict(answered.headers)
            self._link.to_server(lambda: reply.send((headers, answered.body)))

        def arrive() -> None:
            task = asyncio.get_running_loop().create_task(answer())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._link.to_client(arrive)

    async def finish(self) -> None:
        """Wait until every request is answered."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
