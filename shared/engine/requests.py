"""Requests to a context: they wait for the loop, are decided in its next transaction, and answered after the commit.

Any process of the context takes a request, also one that does not own the partition of its key: the transaction has
the write lock, so requests and commands about one aggregate follow each other, and the owner of the partition publishes
the events. When a process dies or the database is locked, the client gets no answer, and asks again under the same key.
The futures are asyncio's because each request is a task of the broker's adapter.
"""

import asyncio
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from msgspec import Struct

from shared.endpoint import Answer, Endpoint, Endpoints, Request
from shared.engine.decide.answers import Given
from shared.engine.route.headers import MalformedHeaderError, checked
from shared.engine.route.incoming import Asker, Incoming
from shared.engine.route.routing import Routing
from shared.ports.clock import Clock
from shared.ports.store import DatabaseBusyError, DatabaseError, Store
from shared.wire.bodies import BodyDecoder, MalformedBodyError
from shared.wire.messages import ANSWERING_SINCE, CORRELATION_ID, IDEMPOTENCY_KEY, NEVER, check_message_id, rfc3339

WAITING_AT_MOST: Final = 10_000
STOPPING: Final = "this process is stopping"

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger("chorus.requests")


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer that was given under a key, if there was one."""

    found: bool
    operation: str = ""
    answer: msgspec.Raw = msgspec.Raw()


class Requests:
    """One per process. The broker's adapter calls `endpoints`; the loop takes requests, decides and answers them."""

    def __init__(self, routing: Routing, store: Store, clock: Clock, *, wake: Callable[[], None]) -> None:
        self._routing = routing
        self._store = store
        self._clock = clock
        self._wake = wake
        self._waiting: deque[Incoming] = deque()
        self._askers: dict[int, asyncio.Future[Given]] = {}
        self._last = 0
        self._is_closed = False
        context = routing.context
        self._since = {ANSWERING_SINCE: rfc3339(clock.now())} if context.lookup else {}
        self.endpoints: Endpoints = {
            endpoint.subject: partial(self._ask, endpoint, BodyDecoder(endpoint.request, strict=True))
            for endpoint in context.endpoints
        } | ({context.lookup: self._look_up} if context.lookup else {})

    def take(self, at_most: int) -> list[Incoming]:
        """Remove and return the requests that have waited longest."""
        return [self._waiting.popleft() for _ in range(min(at_most, len(self._waiting)))]

    def restore(self, messages: Iterable[Incoming]) -> None:
        """Put requests back whose batch was not committed."""
        self._waiting.extendleft(reversed([message for message in messages if isinstance(message.source, Asker)]))

    def answer(self, given: Sequence[Given]) -> None:
        """Answer requests whose transaction is committed."""
        for one in given:
            self._finish(one.asker, one)

    def answer_unavailable(self, messages: Sequence[Incoming], reason: str) -> list[Incoming]:
        """Answer 503 to every request of a batch and every waiting one; returns the other messages of the batch."""
        others = []
        for message in (*messages, *self.take(WAITING_AT_MOST)):
            if isinstance(message.source, Asker):
                self._finish(message.source, Given(message.source, ask_again(reason)))
            else:
                others.append(message)
        return others

    def close(self) -> None:
        """Answer 503 to every waiting request and every later one: another process decides them."""
        self._is_closed = True
        self._waiting.clear()
        for waiting in self._askers.values():
            if not waiting.done():
                waiting.set_exception(DatabaseBusyError(STOPPING))

    def _finish(self, asker: Asker, given: Given) -> None:
        waiting = self._askers.get(asker.n)
        if waiting is not None and not waiting.done():
            waiting.set_result(given)

    async def _ask(self, endpoint: Endpoint, decoder: BodyDecoder[Any], request: Request) -> Answer | None:
        if self._is_closed or len(self._waiting) >= WAITING_AT_MOST:
            return ask_again(STOPPING if self._is_closed else f"{WAITING_AT_MOST} requests are waiting")
        n = self._last = self._last + 1
        try:
            key = checked(IDEMPOTENCY_KEY, check_message_id, request.headers.get(IDEMPOTENCY_KEY, ""))
            body = decoder.decode(request.body, key="", at=NEVER)
            message = self._routing.asked(endpoint, n, key, body, request.headers)
        except (MalformedBodyError, MalformedHeaderError) as malformed:
            return Answer(error=("400", str(malformed)))
        except Exception as error:
            saga, message_id = (request.headers.get(name, "") for name in (CORRELATION_ID, IDEMPOTENCY_KEY))
            _log.exception("request failed", saga=saga, message=message_id, subject=endpoint.subject)
            return Answer(error=("500", f"{type(error).__name__} in the code of {endpoint.subject}"))
        waiting: asyncio.Future[Given] = asyncio.get_running_loop().create_future()
        self._askers[n] = waiting
        self._waiting.append(message)
        self._wake()
        try:
            given = await waiting
        except DatabaseBusyError as error:
            return ask_again(str(error))
        finally:
            del self._askers[n]
        if given.reply_delay_s == math.inf:
            return None
        if given.reply_delay_s:
            await self._clock.sleep(given.reply_delay_s)
        return replace(given.answer, headers=self._since) if self._since else given.answer

    async def _look_up(self, request: Request) -> Answer:
        key = request.headers.get(IDEMPOTENCY_KEY, "")
        try:
            row = await self._store.read_aside(lambda reader: reader.answer(key))
        except (DatabaseBusyError, DatabaseError) as error:
            return ask_again(str(error))
        found = (
            Found(found=False)
            if row is None
            else Found(found=True, operation=row.operation, answer=msgspec.Raw(row.answer))
        )
        return Answer(body=_encoder.encode(found))


def ask_again(reason: str) -> Answer:
    """The answer to a request that was not decided."""
    return Answer(error=("503", f"ask again with the same {IDEMPOTENCY_KEY}: {reason}"[:500].replace("\n", " ")))
