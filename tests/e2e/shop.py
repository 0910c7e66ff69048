"""A shop of real processes on a real server, which its customers drive with the `nats` command."""

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

import anyio

from shared import catalog
from shared.access.export import write_contexts
from shared.access.login import login
from shared.access.of_system import users_of
from shared.access.roles import OPERATOR, PRODUCER, TESTER
from shared.adapters.jetstream import JetStream, connect
from shared.adapters.sqlite.reading import open_read_only
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.ports.broker import BrokerDeniedError, BrokerUnavailableError, Outgoing
from shared.run.server import LocalServer, local_server
from shared.run.staging import stage_in_ram
from shared.run.system import apply_streams, own_environment
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS
from tests.guarded import SECURE, USER, as_tests, guard, login_of
from tests.ledger import Ledger, read_ledger
from tests.processes import Worker, spawn_ready
from tests.sagas import fact_line
from tests.waiting import WITHIN_S
from tests.watching import Fact, Watcher, watching

PRICE = {"amount_minor": 250, "currency": "EUR"}
ADDRESS = {"street": "Hauptstr. 1", "city": "Bern", "country": "CH", "postal_code": "3000"}
MEMBERS = catalog.names()

NATS_CLI = shutil.which("nats")
open_shops: list["Shop"] = []
"""When a test fails, the report shows the logs of these."""


class Said(NamedTuple):
    """How the `nats` command ended."""

    code: int
    output: str


class Level(NamedTuple):
    """The stock of one sku."""

    on_hand: int
    reserved: int


class Shop:
    """Processes by name, such as `ordering`, or `ordering.2` for the second one of a context."""

    def __init__(
        self,
        servers: AsyncExitStack,
        server: LocalServer,
        directory: Path,
        watcher: Watcher,
        brokers: Mapping[str, JetStream],
        users: Mapping[str, Any],
    ) -> None:
        self.url = server.url
        self.directory = directory
        self.watcher = watcher
        self.workers: dict[str, Worker] = {}
        self.environ: dict[str, str] = {}
        self._server = server
        self._users = users
        self._servers = servers
        self.brokers = brokers
        """The connections of the tests by user; where the server has no users, all are one."""
        self._sockets = Path(tempfile.mkdtemp(prefix="chorus-"))
        self._peculiar: set[str] = set()

    async def start(self, name: str, *arguments: str, module: str = "", **settings: str) -> None:
        """Start a process and wait until it is ready; `settings` are named like `order_deadline`.

        It runs the context of its name, or another module.
        """
        context = name.partition(".")[0]
        environ = {**self.environ, "CHORUS_DATA_DIR": str(self.data_dir(context)), **as_variables(settings)}
        if arguments or module or settings:
            self._peculiar.add(name)
        self.workers[name] = await spawn_ready(
            name,
            (module or f"contexts.{context}", *arguments),
            environ,
            self.directory / f"{name}.log",
            self._sockets / name,
        )

    async def start_all(self, *names: str) -> None:
        """Start several at once."""
        async with asyncio.TaskGroup() as starting:
            for name in names:
                starting.create_task(self.start(name))

    async def kill(self, *names: str) -> None:
        """Kill processes with -9."""
        for name in names:
            await self.workers[name].kill()

    async def stop(self, name: str) -> int:
        """Tell a process to end; its exit code."""
        return await self.workers[name].stop()

    async def be_whole(self) -> None:
        """Have one process of each context again, with the settings of the shop."""
        for name in self.workers.keys() - (set(MEMBERS) - self._peculiar):
            await self.workers.pop(name).stop()
        self._peculiar.clear()
        await self.start_all(*(name for name in MEMBERS if name not in self.workers or not self.workers[name].running))

    async def crash_the_server(self) -> None:
        """Kill the server with -9."""
        await self._server.kill()

    async def start_the_server(self) -> None:
        """Start the server again on its port, and wait until the tests are connected to it again."""
        port = urlsplit(self.url).port or -1
        server = local_server(self.directory / "nats", port=port, more=self._users)
        self._server = await self._servers.enter_async_context(server)
        with anyio.fail_after(WITHIN_S):
            for broker in self.brokers.values():
                await _connected_again(broker)

    async def close(self) -> None:
        """Stop all workers."""
        async with asyncio.TaskGroup() as stopping:
            for worker in self.workers.values():
                stopping.create_task(worker.stop())
        shutil.rmtree(self._sockets)

    async def send(self, command: str, key: str, body: Mapping[str, Any], message_id: str | None = None) -> None:
        """Send `ordering.PlaceOrder` or another command, by the `nats` command where there is one."""
        subject, text = f"cmd.{command}.{key}", json.dumps(body)
        if NATS_CLI is None:
            headers = {MSG_ID: message_id} if message_id else {}
            await self.brokers[PRODUCER].publish(Outgoing(subject, headers, text.encode()))
            return
        said = await self.nats("pub", "-J", subject, text, *(("-H", f"{MSG_ID}:{message_id}") if message_id else ()))
        assert said.code == 0, said.output

    async def send_quickly(self, command: str, key: str, body: Mapping[str, Any]) -> None:
        """Send a command without starting a process for it."""
        await self.brokers[PRODUCER].publish(Outgoing(f"cmd.{command}.{key}", {}, json.dumps(body).encode()))

    async def nats(self, *arguments: str) -> Said:
        """Run the `nats` command against the shop's server, as a producer where the server has users."""
        assert NATS_CLI is not None
        process = await asyncio.create_subprocess_exec(
            NATS_CLI,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.environ | ({"NATS_CONTEXT": "chorus-producer"} if self._users else {}),
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return Said(process.returncode, output.decode())

    async def until(self, key: str, event: str, *, times: int = 1) -> Fact:
        """Wait until an event was published under a key."""
        return await self.watcher.until(key, event, times=times)

    def facts(self, key: str) -> list[str]:
        """The facts under a key in stream order, a line each."""
        return [fact_line(fact.context, fact.type, fact.content) for fact in self.watcher.about(key)]

    async def stock(self, sku: str, quantity: int) -> None:
        """Register an article and replenish it; ordering knows its price when this returns."""
        await self.send_quickly("inventory.RegisterStockItem", sku, {"name": sku.title(), "unit_price": PRICE})
        delivery = {"quantity": quantity, "delivery_id": f"first-{sku}"}
        await self.send_quickly("inventory.ReplenishStock", sku, delivery)
        await self.until(sku, "StockLevelChanged")
        await self.until(sku, "PriceListed")

    async def place(
        self,
        order: str,
        sku: str,
        *,
        token: str = "tok_ok",
        quantity: int = 2,
        postal_code: str = "3000",
        allow_backorder: bool = False,
        message_id: str | None = None,
        quickly: bool = False,
    ) -> None:
        """Place an order of one line; each order pays from an account of its own."""
        body = {
            "customer_id": "c-1",
            "email": "ann@example.com",
            "lines": [{"sku": sku, "quantity": quantity, "unit_price": PRICE}],
            "address": {**ADDRESS, "postal_code": postal_code},
            "method_token": token_of(order, token),
            "allow_backorder": allow_backorder,
        }
        if quickly:
            await self.send_quickly("ordering.PlaceOrder", order, body)
        else:
            await self.send("ordering.PlaceOrder", order, body, message_id)

    async def level(self, sku: str) -> Level:
        """The stock of an article, by the last event that inventory has decided, once it is published.

        An order's own events do not wait for those of its articles, which have other keys.
        """
        query = "SELECT MAX(version) FROM journal WHERE aggregate = ?"
        last = f"inventory/stock-{sku}@{self.rows('inventory', query, f'stock-{sku}')[0][0]}"
        with anyio.move_on_after(WITHIN_S):
            await self.watcher.until_true(lambda: any(fact.id == last for fact in self.watcher.about(sku)))
        published = {fact.id: fact for fact in self.watcher.about(sku)}
        assert last in published, f"{last} was not published within {WITHIN_S:g} s: {list(published)}"
        return Level(published[last].content["on_hand"], published[last].content["reserved"])

    def ledger(self, order: str) -> list[str]:
        """The money that moved for an order: `capture`, `refund`."""
        return self.books().reasons(f"pay-{order}")

    def books(self) -> Ledger:
        """The bank's books."""
        with closing(open_read_only(self.data_dir("bank") / "bank.db")) as database:
            database.execute("BEGIN")
            return read_ledger(database)

    def mails(self, order: str) -> list[str]:
        """The templates of the mails to the customer about an order."""
        files = (self.data_dir("notifications") / "mail").glob(f"{order}-*.eml")
        return sorted(file.stem.removeprefix(f"{order}-") for file in files)

    def rows(self, context: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read a context's database beside its worker."""
        with closing(open_read_only(self.data_dir(context) / f"{context}.db")) as database:
            return database.execute(query, parameters).fetchall()

    def environment(self, directory: Path) -> dict[str, str]:
        """The environment of another worker on the shop's server, with a data directory of its own."""
        return {**self.environ, "CHORUS_DATA_DIR": str(directory)}

    def data_dir(self, context: str) -> Path:
        """Where a context has its database."""
        return self.directory / context

    @property
    def tails(self) -> Mapping[str, str]:
        """The end of each log."""
        return {name: worker.tail for name, worker in self.workers.items()}


ShopKind = TypeVar("ShopKind", bound=Shop)


@asynccontextmanager
async def opened(
    kind: type[ShopKind], directory: Path, *, secure: bool = SECURE, otlp_endpoint: str = "", **settings: str
) -> AsyncIterator[ShopKind]:
    """A shop with a server of its own and one process for each context; `settings` as `order_deadline="2s"`.

    With `secure` its server knows the users of the shop, and nobody else.
    """
    access = directory / "access"
    async with AsyncExitStack() as servers:
        users = guard(access) if secure else {}
        server = await servers.enter_async_context(local_server(directory / "nats", more=users))
        await apply_streams(ConnectionOptions(servers=(server.url,)), Settings(access_dir=access))
        await stage_in_ram(server.directory)
        brokers = await servers.enter_async_context(_connections(server.url, access, secure=secure))
        async with watching(server.url, **login_of(TESTER, access)) as watcher:
            shop = kind(servers, server, directory, watcher, brokers, users)
            shop.environ = environment(server.url, directory, **settings)
            if otlp_endpoint:
                shop.environ |= {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp_endpoint}
            if secure:
                shop.environ |= {"CHORUS_ACCESS_DIR": str(access)}
                dict(write_contexts(access, users_of(Settings()), server.url, shop.environ))
            open_shops.append(shop)
            try:
                await shop.start_all(*MEMBERS)
                yield shop
            finally:
                await shop.close()
                open_shops.remove(shop)


@asynccontextmanager
async def _connections(url: str, access: Path, *, secure: bool) -> AsyncIterator[Mapping[str, JetStream]]:
    """The connections of the tests: one that may do everything, and those of the roles."""
    everything = await connect(as_tests(url), name="tests")
    brokers = {USER: everything}
    for role in (OPERATOR, PRODUCER, TESTER):
        options = login(ConnectionOptions(servers=(url,)), role, access)
        brokers[role] = await connect(options, name="tests") if secure else everything
    try:
        yield brokers
    finally:
        for broker in {*brokers.values()}:
            await broker.close()


async def _connected_again(broker: JetStream) -> None:
    """Wait until a server that was away answers, be it with a denial."""
    while True:
        try:
            await broker.stream_info(EVENTS)
        except BrokerDeniedError:
            return
        except BrokerUnavailableError:
            continue
        return


def environment(url: str, directory: Path, **settings: str) -> dict[str, str]:
    """The environment of a worker on this server, with these settings and no others."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("CHORUS_")}
    return {**own_environment(bare, url=url, data_dir=directory), **as_variables(settings)}


def as_variables(settings: Mapping[str, str]) -> dict[str, str]:
    """`order_deadline` as `CHORUS_ORDER_DEADLINE`."""
    return {f"CHORUS_{name.upper()}": value for name, value in settings.items()}


def token_of(order: str, behaviour: str) -> str:
    """The method token of an order: the bank behaves by its beginning and has an account for each."""
    return f"{behaviour}_{order}"
