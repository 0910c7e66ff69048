"""Orders: from PlaceOrder to OrderShipped through every context of the shop, bank and letters included."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import msgspec
from msgspec import Struct

from shared import catalog
from shared.config.settings import Settings
from shared.ports.broker import Outgoing
from shared.run.supervisor import Supervisor
from shared.run.system import programs
from tests.bench.costs import BENCH, Spent, spent
from tests.bench.load import KINDS, PRICE, SKUS, Load, send
from tests.bench.marks import marks, tenths
from tests.bench.profiles import Profile, profile_of
from tests.bench.runs import OpenLoop, Run, Target, open_loop, saturated
from tests.bench.sagas import saturated_ring
from tests.bench.stage import Stage, bench_program, stage
from tests.guarded import SECURE

PER_S_AT_LEAST = 400.0
EVENTS_OF_BARE_AT_LEAST = 0.4
"""The figures above and below depend on the machine; this one compares two figures of the same run."""
P99_MS_AT_MOST = 300.0
RSS_MB_AT_MOST = 150.0
GROWTH_AT_MOST = 1.25
"""The last tenth of many orders may cost this much more CPU each than the second."""
OPEN_AT_MOST = 2_000
STOCK_WITHIN_S = 30.0
MANY_WITHIN_S = 3600.0


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    bare: int = 5_000
    waiting: int = 4_000
    per_s: float = 100.0
    seconds: int = 20


QUICK = Plan(bare=100, waiting=40, per_s=20.0, seconds=1)


class Orders(Struct, frozen=True, kw_only=True):
    """The measurements: the bare loop, orders that wait, and orders that come one by one."""

    bare: Run
    capacity: Run
    open_loop: OpenLoop

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the measurements have to meet."""
        return (
            Target(name="events/s, of the bare loop's", found=self.ratio, at_least=EVENTS_OF_BARE_AT_LEAST),
            Target(name="orders/s", found=self.capacity.throughput.per_s, at_least=PER_S_AT_LEAST),
            Target(
                name=f"p99 at {self.open_loop.per_s:g}/s, ms",
                found=self.open_loop.latency.p99_ms,
                at_most=P99_MS_AT_MOST,
            ),
        )

    @property
    def ratio(self) -> float:
        """The shop's events a second as a part of the bare loop's."""
        return events_per_s(self.capacity) / events_per_s(self.bare)


def events_per_s(run: Run) -> float:
    """How many events a run stored in a second."""
    return run.events * run.throughput.per_s


class Tenth(Struct, frozen=True, kw_only=True):
    """A tenth of many orders: its pace and its costs."""

    per_s: float
    spent: Spent


class ManyOrders(Struct, frozen=True, kw_only=True):
    """Pace, cost and memory while the streams grew; up to OPEN_AT_MOST orders were open at once."""

    orders: int
    tenths: tuple[Tenth, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the measurements have to meet; the first tenth warms up."""
        early, late = (
            sum(cost for name, cost in self.tenths[number].spent.cpu_us.items() if name != BENCH) for number in (1, 9)
        )
        memory = max(mb for name, mb in self.tenths[9].spent.rss_mb.items() if name not in ("server", BENCH))
        return (
            Target(name="CPU per order, last tenth to second", found=late / early, at_most=GROWTH_AT_MOST),
            Target(name="the largest worker, MB", found=memory, at_most=RSS_MB_AT_MOST),
        )


class OrdersLostError(Exception):
    """Not every order was placed and shipped exactly once."""


async def measure(plan: Plan) -> Orders:
    """The bare loop and the capacity, then the open loop on the same shop."""
    bare = await saturated_ring("bare", plan.bare)
    async with shop() as (place, supervisor):
        load = Load(kind="orders", count=plan.waiting)
        capacity = await saturated(place, supervisor, load, place.consumers("ordering"))
        load = Load(kind="orders", count=round(plan.seconds * plan.per_s), first=plan.waiting, per_s=plan.per_s)
        slow = await open_loop(place, supervisor, load)
        await place.quiet()
        await check(place, plan.waiting + load.count + round(plan.per_s))
    return Orders(bare=bare, capacity=capacity, open_loop=slow)


async def measure_many(orders: int) -> ManyOrders:
    """Send orders as fast as they are shipped."""
    async with shop() as (place, supervisor):
        shipped = await place.count(KINDS["orders"].ends_with)
        costs = [place.costs(supervisor)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send, place, Load(kind="orders", count=orders, open_at_most=OPEN_AT_MOST))
            for part in range(1, 11):
                await shipped.reaches(orders * part // 10, within_s=MANY_WITHIN_S)
                costs.append(place.costs(supervisor))
        await place.quiet()
        await check(place, orders)
        paces = tenths(await marks(place.broker, KINDS["orders"].ends_with))
    return ManyOrders(
        orders=orders,
        tenths=tuple(
            Tenth(per_s=paces[part], spent=spent(costs[part], costs[part + 1], sagas=orders / 10)) for part in range(10)
        ),
    )


async def profile(plan: Plan, context: str) -> Profile:
    """Where one context's process spends its time while orders queue."""
    async with shop(profiled=context) as (place, supervisor):
        file = place.directory / "profile"
        load = Load(kind="orders", count=plan.waiting)
        await saturated(place, supervisor, load, place.consumers("ordering"))
        await supervisor.stop(context)  # Only then is the profile written.
        return profile_of(file, sagas=plan.waiting)


@asynccontextmanager
async def shop(
    profiled: str | None = None, *, reading: bool = False, secure: bool = SECURE
) -> AsyncIterator[tuple[Stage, Supervisor]]:
    """Every worker ready and the shelves full; `reading` adds the read side, `secure` users with their rights."""
    settings = Settings()
    members = catalog.contexts(settings)
    loaded = catalog.load_all(settings)
    if not reading:
        loaded = loaded._replace(read_sides={})
    async with stage(loaded.running.values(), secure=secure) as place:
        workers = [
            bench_program(worker.name, "worker", worker.name, str(place.directory / "profile"))
            if worker.name == profiled
            else worker
            for worker in programs(loaded, settings)
        ]
        async with place.running(workers) as supervisor:
            await place.held([*members])
            await _fill_shelves(place)
            yield place, supervisor


async def _fill_shelves(place: Stage) -> None:
    replenished = await place.count("evt.inventory.StockReplenished.*.*")
    listed = await place.count("evt.ordering.PriceListed.*.*")
    for sku in SKUS:
        for command, body in (
            ("RegisterStockItem", {"name": sku, "unit_price": PRICE}),
            ("ReplenishStock", {"quantity": 1_000_000, "delivery_id": "bench"}),
        ):
            await place.broker.publish(Outgoing(f"cmd.inventory.{command}.{sku}", {}, msgspec.json.encode(body)))
    await replenished.reaches(len(SKUS), within_s=STOCK_WITHIN_S)
    await listed.reaches(len(SKUS), within_s=STOCK_WITHIN_S)


async def check(place: Stage, orders: int) -> None:
    wanted = {
        "ordering.OrderPlaced": orders,
        "payments.PaymentSucceeded": orders,
        "shipping.OrderShipped": orders,
        "inventory.StockCommitted": orders,
        "ordering.OrderCancelled": 0,
        "ordering.CommandRejected": 0,
        "notifications.NotificationFailed": 0,
    }
    found = {name: await (await place.count(f"evt.{name}.*.*")).now() for name in wanted}
    if found != wanted:
        raise OrdersLostError(f"of {orders} orders: {found}")
