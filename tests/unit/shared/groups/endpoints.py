"""A forwarder in virtual time: an endpoint that answers as a test says, and the database of the group."""

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import anyio

from shared.adapters.sqlite.views.forwards import SqliteForwardRows, make_forwards
from shared.adapters.sqlite.views.tables import SCHEMA
from shared.adapters.sqlite.views.transaction import SqliteViewTransaction
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.config.secrets import Secret, SecretUrl
from shared.engine.monitor.alarms import Alarms
from shared.engine.wakeup import Wakeup
from shared.groups.forwarding.forwarder import Forwarder
from shared.ports.forwards import ForwardRow, Reply
from shared.ports.views import ViewTransaction
from shared.readside.group import Forwards
from shared.wire.messages import CORRELATION_ID, SCHEMA_VERSION

T = TypeVar("T")

SECRET = "a-secret-of-16-or-more"
FORWARDS = Forwards(events=(), url=SecretUrl("http://endpoint.example"), secret=Secret(SECRET))
OK = Reply(200)
BODY = b'{"n": 1}'
HOUR_S = 3600.0

Answer = Callable[[str, int], Reply | Exception]
"""The reply to the n-th attempt at an event."""


def event(key: str, version: int) -> ForwardRow:
    identity = f"here/thing-{key}@{version}"
    headers = {CORRELATION_ID: key, SCHEMA_VERSION: "2"}
    return ForwardRow(0, key, identity, 7, "here", "ThingDone", "2026-11-28T09:00:00.000000Z", headers, BODY)


class Endpoint:
    """A sender that answers as the test says, after a moment of virtual time."""

    def __init__(self, answer: Answer = lambda _, __: OK) -> None:
        self.answer = answer
        self.attempts: list[str] = []
        self.delivered: list[str] = []
        self.at_once = self.at_once_at_most = 0

    async def send(self, headers: Mapping[str, str], body: bytes) -> Reply:
        assert body == BODY
        identity = headers["ce-id"].removeprefix("here/thing-")
        self.attempts.append(identity)
        self.at_once += 1
        self.at_once_at_most = max(self.at_once_at_most, self.at_once)
        try:
            await asyncio.sleep(random.uniform(0.001, 0.02))
            reply = self.answer(identity, self.attempts.count(identity))
        finally:
            self.at_once -= 1
        if isinstance(reply, Exception):
            raise reply
        if reply.status < 300:
            self.delivered.append(identity)
        return reply

    async def close(self) -> None:
        """Nothing to close."""


class Books:
    """The database of the group."""

    def __init__(self, *rows: ForwardRow) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.executescript(SCHEMA)
        make_forwards(self.connection)
        self.add(*rows)

    @property
    def rows(self) -> SqliteForwardRows:
        return SqliteForwardRows(self.connection)

    def add(self, *rows: ForwardRow) -> None:
        self.rows.add(rows)

    async def transact(self, work: Callable[[ViewTransaction], T]) -> T:
        await asyncio.sleep(random.uniform(0.001, 0.02))
        result = work(SqliteViewTransaction(self.connection))
        await asyncio.sleep(random.uniform(0.001, 0.02))
        return result

    def judge(self, verdict: str, chosen: str = "reason <> ''") -> None:
        self.connection.execute("INSERT OR REPLACE INTO forwards_verdicts SELECT n, 'me', 'why' FROM forwards")
        self.connection.execute(f"UPDATE forwards SET verdict = ? WHERE {chosen}", (verdict,))

    def parked(self) -> list[tuple[str, str]]:
        query = "SELECT event_id, reason FROM forwards WHERE reason <> '' ORDER BY n"
        return [(one.removeprefix("here/thing-"), reason) for one, reason in self.connection.execute(query)]

    def left(self) -> int:
        (number,) = self.connection.execute("SELECT count(*) FROM forwards").fetchone()
        return int(number)


def run(work: Callable[[VirtualClock], Coroutine[Any, Any, T]], seed: int = 1) -> T:
    """Run in virtual time."""
    loop = VirtualLoop(seed)
    random.seed(seed)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        return runner.run(work(VirtualClock(loop)))


@asynccontextmanager
async def forwarding(books: Books, endpoint: Endpoint, clock: VirtualClock) -> AsyncIterator[Forwarder]:
    """A forwarder and the loop of its group; the end of the block kills both."""
    wakeup = Wakeup()
    forwarder = Forwarder("here-out", FORWARDS, endpoint, clock, Alarms(clock), wakeup.set)

    async def loop() -> None:
        while True:
            wakeup.clear()
            await forwarder.settle(books.transact)
            if not wakeup.is_set:
                await wakeup.wait(0.5)

    async with anyio.create_task_group() as tasks:
        forwarder.start(tasks)
        tasks.start_soon(loop)
        yield forwarder
        tasks.cancel_scope.cancel()


async def all_sent(forwarder: Forwarder, clock: VirtualClock, within_s: float = 5 * HOUR_S) -> None:
    until = clock.monotonic() + within_s
    while not forwarder.is_resting:
        assert clock.monotonic() < until, "not delivered in time"
        await asyncio.sleep(0.5)


def forwarded(books: Books, endpoint: Endpoint, seed: int = 1) -> None:
    """Forward everything that can be."""

    async def work(clock: VirtualClock) -> None:
        async with forwarding(books, endpoint, clock) as forwarder:
            await all_sent(forwarder, clock)

    run(work, seed)
