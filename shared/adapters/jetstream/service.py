"""Answers requests as an ADR-32 service.

A message is a request only if its reply subject can be an inbox. The server delivers a stored message, an answer of its
own or a PubAck to any reply subject that a client names, also to the subject of an endpoint, whatever that client may
publish. Such a message has no reply subject, or one of the server's, such as `$JS.ACK.…`. An answer to a subject of a
stream or of another service would be a message that we let a client send in our name.

Each request is an asyncio task: nats-py calls the handler from a task of its own, outside of any anyio task group.
"""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable

import anyio
import structlog
from nats.aio.client import Client
from nats.micro import add_service
from nats.micro.request import Request as MicroRequest

from shared.adapters.jetstream.nats_py import CONNECTION_ERRORS, reply_of
from shared.context import Endpoints, Request
from shared.wire.streams import STREAM_OF

REQUESTS_AT_MOST = 1_000
NO_INBOX = frozenset({"", "api", "svc", *STREAM_OF})
"""The first tokens of subjects that no client has its answers on, besides the server's own, which begin with `$`."""

_log = structlog.get_logger("chorus.service")


async def serve(
    client: Client, name: str, version: str, description: str, endpoints: Endpoints, broadcast: Endpoints
) -> Callable[[], Awaitable[None]]:
    """Answer up to 1,000 requests at once; returns a function that stops the service."""
    service = await add_service(client, name=name, version=version, description=description)
    alone = uuid.uuid4().hex  # nats-py has no endpoint without a queue group, so each process has one of its own.
    handlers = {**endpoints, **broadcast}
    tasks: set[asyncio.Task[None]] = set()
    slots = anyio.Semaphore(REQUESTS_AT_MOST)

    async def answer(request: MicroRequest, subject: str) -> None:
        try:
            answered = await handlers[subject](Request(request.headers or {}, request.data))
            if answered is None:
                return
            if answered.error is not None:
                await request.respond_error(answered.error[0], answered.error[1], data=answered.body)
            else:
                await request.respond(answered.body, headers=dict(answered.headers) or None)
        except CONNECTION_ERRORS as error:
            _log.warning("answer not sent", subject=subject, error=str(error))
        finally:
            slots.release()

    def handler(subject: str) -> Callable[[MicroRequest], Awaitable[None]]:
        async def handle(request: MicroRequest) -> None:
            reply = reply_of(request)
            if not _is_inbox(reply):
                _log.warning("a message that is no request is set aside", subject=subject, reply=reply[:200])
                return
            await slots.acquire()
            task = asyncio.create_task(answer(request, subject))
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        return handle

    for subject in handlers:
        await service.add_endpoint(
            name=subject.replace(".", "-"),
            subject=subject,
            handler=handler(subject),
            queue_group=alone if subject in broadcast else None,
        )

    async def stop() -> None:
        with contextlib.suppress(*CONNECTION_ERRORS):
            await service.stop()
        await asyncio.gather(*tasks, return_exceptions=True)

    return stop


def _is_inbox(reply: str) -> bool:
    """Whether an answer may be sent to this subject."""
    return not reply.startswith("$") and reply.partition(".")[0] not in NO_INBOX
