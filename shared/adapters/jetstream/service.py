"""Answers requests as an ADR-32 service.

Each request is an asyncio task: nats-py calls the handler from a task of its own, outside of any anyio task group.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import anyio
import nats.errors
import structlog
from nats.aio.client import Client
from nats.micro import add_service
from nats.micro.request import Request as MicroRequest

from shared.context import Endpoints, Request

REQUESTS_AT_ONCE = 1_000

_log = structlog.get_logger("chorus.service")


async def serve(
    client: Client, name: str, version: str, description: str, endpoints: Endpoints
) -> Callable[[], Awaitable[None]]:
    """Answer requests as an ADR-32 service; up to 1,000 at once, each in a task of its own."""
    service = await add_service(client, name=name, version=version, description=description)
    tasks: set[asyncio.Task[None]] = set()
    places = anyio.Semaphore(REQUESTS_AT_ONCE)

    async def answer(request: MicroRequest, subject: str) -> None:
        try:
            said = await endpoints[subject](Request(request.headers or {}, request.data))
            if said is None:
                return
            if said.error is not None:
                await request.respond_error(said.error[0], said.error[1], data=said.body)
            else:
                await request.respond(said.body)
        except nats.errors.Error as error:
            _log.warning("answer not sent", subject=subject, error=str(error))
        finally:
            places.release()

    def handler(subject: str) -> Callable[[MicroRequest], Awaitable[None]]:
        async def handle(request: MicroRequest) -> None:
            await places.acquire()
            task = asyncio.create_task(answer(request, subject))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return handle

    for subject in endpoints:
        await service.add_endpoint(name=subject.replace(".", "-"), subject=subject, handler=handler(subject))

    async def stop() -> None:
        with contextlib.suppress(nats.errors.Error):
            await service.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    return stop
