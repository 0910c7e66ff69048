"""Runs the engine in the process of a test, on a real database and a real server."""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
from msgspec.structs import replace

from shared.adapters.clock import SystemClock
from shared.adapters.jetstream import JetStream, connect
from shared.adapters.sqlite.database import BUSY_TIMEOUT_MS
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.reading import open_read_only
from shared.config.connection import ConnectionOptions
from shared.config.secrets import Secret
from shared.config.settings import default_streams_file
from shared.config.units import nanoseconds
from shared.context import Context
from shared.derived.topology import Topology, declare
from shared.engine.loop import Loop
from shared.engine.process import ContextProcess
from shared.engine.route.tracing import NOT_TRACING, Tracing
from shared.ports.broker import Broker, Outgoing, Published
from shared.streams.apply import apply
from shared.streams.file import read_topology
from shared.wire.messages import MSG_ID
from shared.wire.streams import COMMANDS
from tests.integration.till import scanner, till
from tests.saying import said
from tests.waiting import WITHIN_S, until, until_answer
from tests.watching import Fact, Watcher, watching

PARTITIONS = 2
DRAINED_WITHIN_S = 20.0
BRIEFLY_MS = 300
"""How long a database waits for a lock that the test holds anyway."""
TOPOLOGY: Topology = replace(read_topology(default_streams_file()), partitions=PARTITIONS)


class Counter:
    """A server with the streams of the till, watchers of them, and a database."""

    def __init__(self, url: str, directory: Path, broker: JetStream, watchers: Mapping[str, Watcher]) -> None:
        self.url = url
        self.directory = directory
        self.broker = broker
        self.watcher = watchers["EVENTS"]
        self.timers = watchers["TIMERS"]
        self.letters = watchers["DEAD_LETTERS"]

    async def publish(self, subject: str, body: bytes, message_id: str | None = None, **headers: str) -> Published:
        """Publish as a client or as another context would."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.broker.publish(
            Outgoing(subject, {**given, MSG_ID: message_id} if message_id else given, body)
        )

    async def ring(self, key: str, amount: int, message_id: str | None = None) -> Published:
        """Send the till's command."""
        return await self.publish(f"cmd.till.Ring.{key}", b'{"amount": %d}' % amount, message_id)

    async def scan(self, key: str, amount: int, message_id: str) -> Published:
        """Publish an event of the scanner."""
        return await self.scan_body(key, b'{"till_id": "%s", "amount": %d}' % (key.encode(), amount), message_id)

    async def scan_body(self, key: str, body: bytes, message_id: str, **headers: str) -> Published:
        """Publish an event of the scanner with this body, in the form that a context gives to its events."""
        return await self.say(f"evt.scanner.GoodsScanned.{key}", body, message_id, **headers)

    async def say(self, subject: str, body: bytes, message_id: str, **headers: str) -> Published:
        """Publish an event in the form that a context gives to its events."""
        form = {name.replace("-", "_"): value for name, value in said(subject.rpartition(".")[2]).items()}
        return await self.publish(subject, body, message_id, **{**form, **headers})

    async def lose_events(self) -> None:
        """Delete EVENTS, and create it again as an operator would."""
        await self.broker.api("$JS.API.STREAM.DELETE.EVENTS", b"")
        await apply(self.broker.api, declare(TOPOLOGY, (till(), scanner())))
        await self.watcher.release()

    @property
    def databases(self) -> SqliteDatabases:
        """The databases in the directory of the counter."""
        return SqliteDatabases(self.directory)

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read the till's database beside its worker."""
        with closing(open_read_only(self.directory / "till.db")) as database:
            return database.execute(query, parameters).fetchall()

    async def published(self) -> None:
        """Wait until the stream has every row of the journal: a worker that loses its pin drains without them."""
        await until(lambda: not self.rows("SELECT 1 FROM journal WHERE published_seq IS NULL"), "all is published")

    def change(self, statement: str, *parameters: Any) -> None:
        """Change the database of a till that is not running."""
        with closing(sqlite3.connect(self.directory / "till.db", isolation_level=None)) as database:
            database.execute(statement, parameters)

    def totals(self, key: str) -> list[int]:
        """The totals in the drawer after each amount, by the stream."""
        return [fact.content["total"] for fact in self.watcher.about(key) if fact.type == "Rung"]


@asynccontextmanager
async def standing(
    url: str,
    directory: Path,
    *,
    remembers: timedelta | None = None,
    user: str | None = None,
    password: str | None = None,
) -> AsyncIterator[Counter]:
    """A counter on an empty server, which remembers message ids for `remembers`."""
    topology = TOPOLOGY
    if remembers is not None:
        window = {"duplicate_window": nanoseconds(remembers)}
        topology = replace(topology, streams={name: {**keys, **window} for name, keys in topology.streams.items()})
    secret = None if password is None else Secret(password)
    broker = await connect(ConnectionOptions(servers=(url,), user=user, password=secret), name="tests")
    try:
        await apply(broker.api, declare(topology, (till(), scanner())))
        async with AsyncExitStack() as stack:
            watchers = {
                stream: await stack.enter_async_context(watching(url, stream))
                for stream in ("EVENTS", "TIMERS", "DEAD_LETTERS")
            }
            yield Counter(url, directory, broker, watchers)
    finally:
        await broker.close()


@asynccontextmanager
async def running(
    counter: Counter,
    context: Context | None = None,
    *,
    broker: Broker | None = None,
    batch_at_most: int = 1_000,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
) -> AsyncIterator[Loop]:
    """Run a till's worker until the block ends, when it drains; on a connection of its own unless one is given."""
    async with working(
        counter, context, broker=broker, batch_at_most=batch_at_most, busy_timeout_ms=busy_timeout_ms
    ) as process:
        yield process.loop


@asynccontextmanager
async def working(
    counter: Counter,
    context: Context | None = None,
    *,
    broker: Broker | None = None,
    batch_at_most: int = 1_000,
    tracing: Tracing = NOT_TRACING,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
) -> AsyncIterator[ContextProcess]:
    """As `running`, but yields the whole process, which may be traced."""
    context = context or till()
    own = await connect(ConnectionOptions(servers=(counter.url,)), name="till")
    broker = broker or own
    path = counter.directory / f"{context.name}.db"
    store = await SqliteStore.open(path, context=context.name, busy_timeout_ms=busy_timeout_ms)
    process = ContextProcess(
        context,
        store,
        broker,
        SystemClock(),
        numbers=range(PARTITIONS),
        partitions=PARTITIONS,
        priority_timeout_s=1.0,
        batch_at_most=batch_at_most,
        tracing=tracing,
    )
    try:
        async with process.at_work():
            async with anyio.create_task_group() as deciding:
                deciding.start_soon(process.loop.run)
                yield process
                process.loop.stop()
            await process.drain(DRAINED_WITHIN_S)
    finally:
        with anyio.CancelScope(shield=True):
            await own.close()


async def stored_again(publish: Callable[[], Awaitable[Any]]) -> None:
    """Publish until the server has forgotten the id and stores the message once more."""

    async def is_stored() -> bool:
        return not (await publish()).duplicate

    await until_answer(is_stored)


async def until_idle(counter: Counter) -> None:
    """Wait until every command has been answered."""
    with anyio.fail_after(WITHIN_S):
        while (await counter.broker.stream_info(COMMANDS)).messages:
            pass


def leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    """The errors in a group of groups, such as a worker that fails raises."""
    found: list[BaseException] = []
    for error in group.exceptions:
        found += leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found


def rejection(fact: Fact) -> tuple[str, list[str]]:
    """Why a command was rejected, and at which paths of it."""
    return fact.content["reason"], [detail["path"] for detail in fact.content["details"]]


@asynccontextmanager
async def at_work(
    counter: Counter,
    context: Context | None = None,
    *,
    broker: Broker | None = None,
    busy_timeout_ms: int = BUSY_TIMEOUT_MS,
) -> AsyncIterator[ContextProcess]:
    """A till that owns all partitions, so it has compared the streams with its journal."""
    async with working(counter, context, broker=broker, busy_timeout_ms=busy_timeout_ms) as process:
        await until(lambda: len(process.ownership.owned) == PARTITIONS)
        yield process


def published(counter: Counter, key: str) -> list[str]:
    """The ids of the events under a key, in stream order."""
    return [fact.id for fact in counter.watcher.about(key)]


def closing_at(moment: datetime) -> bytes:
    """The body of a command that closes a till then."""
    return msgspec.json.encode({"closes_at": moment})
