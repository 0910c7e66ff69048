"""A counter over the streams of the whole shop, of which only inventory is at work."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import msgspec

from shared import catalog
from shared.adapters.jetstream import connect
from shared.adapters.sqlite.reading import open_read_only
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.derived.topology import declare
from shared.streams.apply import apply
from shared.wire.streams import EVENTS, TIMERS
from tests.forking import run_chorus
from tests.integration.engine import TOPOLOGY, Counter
from tests.watching import watching

PLACED: dict[str, Any] = {
    "order_id": "o-1",
    "lines": [{"sku": "mug", "quantity": 2, "unit_price": {"amount_minor": 1}}],
}
CANCELLED = {"order_id": "o-1", "reason": "customer", "from_state": "PENDING", "lines": []}


class Storeroom(Counter):
    """A counter over the streams of the whole shop, of which only inventory is at work."""

    async def order(self, key: str) -> None:
        await self.say(
            f"evt.ordering.OrderPlaced.{key}",
            msgspec.json.encode({**PLACED, "order_id": key}),
            f"ordering/order-{key}@1",
        )

    async def cancel(self, key: str) -> None:
        body = msgspec.json.encode({**CANCELLED, "order_id": key})
        await self.say(f"evt.ordering.OrderCancelled.{key}", body, f"ordering/order-{key}@2")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read inventory's database beside its worker."""
        with closing(open_read_only(self.directory / "inventory.db")) as database:
            return database.execute(query, parameters).fetchall()

    async def chorus(self, *words: str, exits: int = 0) -> str:
        """Run a command as an operator would."""
        environ = {**os.environ, "CHORUS_DATA_DIR": str(self.directory)}
        ran = await run_chorus(*words, environ=environ)
        assert ran.code == exits, ran.errors
        return ran.output or ran.errors


@asynccontextmanager
async def storeroom(url: str, directory: Path) -> AsyncIterator[Storeroom]:
    broker = await connect(ConnectionOptions(servers=(url,)), name="tests")
    members = [catalog.load_member(name, Settings()) for name in catalog.names()]
    await apply(broker.api, declare(TOPOLOGY, members))
    async with (
        watching(url, EVENTS) as events,
        watching(url, TIMERS) as timers,
        watching(url, "DEAD_LETTERS") as letters,
    ):
        yield Storeroom(url, directory, broker, {EVENTS: events, TIMERS: timers, "DEAD_LETTERS": letters})
    await broker.close()
