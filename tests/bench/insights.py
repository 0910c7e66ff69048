"""The read side: how fast a group catches up, how fast it answers, and how far behind a busy shop it is."""

import json
import random
import time
from collections.abc import Sequence

import anyio
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from shared import catalog
from shared.adapters.clock import SystemClock
from shared.adapters.jetstream import JetStream
from shared.adapters.sqlite.database import Database
from shared.config.settings import Settings
from shared.engine.intake.reader import Reader
from shared.engine.wakeup import Wakeup
from shared.groups.process import BATCH_AT_MOST
from shared.readside.group import catch_up_of, place_of
from shared.run.system import programs
from tests.bench.costs import Spent, spent
from tests.bench.load import KINDS, Load, send
from tests.bench.orders import shop
from tests.bench.runs import Target, saturated
from tests.bench.stage import Stage, stage
from tests.bench.stream_of_orders import AT_ONCE, Orders

SIDE, GROUP = "insights", "projection"
PLACE = place_of(SIDE, GROUP)
EVENTS_PER_S_AT_LEAST = 15_000.0
RSS_MB_AT_MOST = 200.0
QUERY_P99_MS_AT_MOST = 10.0
LAG_MS_AT_MOST = 500.0
SLOWED_BY_AT_MOST = 0.25
PUBLISHED_AT_ONCE = 1_000
WITHIN_S = 600.0
POLL_S = 0.02


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    events: int = 1_000_000
    queries: int = 5_000
    per_s: float = 100.0
    seconds: int = 20
    waiting: int = 2_000


QUICK = Plan(events=20_000, queries=100, per_s=20.0, seconds=2, waiting=40)


class CatchUp(Struct, frozen=True, kw_only=True):
    """Events of the stream a second, of which the group heard a part; `bare` reads and commits, and folds nothing."""

    events: int
    heard: int
    seconds: float
    bare_seconds: float
    buckets_seconds: float
    """How much longer the buckets took, which the group writes once it has caught up."""
    spent: Spent

    @property
    def per_s(self) -> float:
        """Events of the stream that the group has read, a second."""
        return self.events / self.seconds

    @property
    def heard_per_s(self) -> float:
        """Events that the group folded, a second."""
        return self.heard / self.seconds


class Answers(Struct, frozen=True, kw_only=True):
    """How long a query of one order took, in milliseconds."""

    p50_ms: float
    p99_ms: float


class Live(Struct, frozen=True, kw_only=True):
    """A busy shop with all groups on: how long an event took to be in an answer, and the cost for the orders."""

    lag_p50_ms: float
    lag_p99_ms: float
    orders_per_s: float
    orders_per_s_alone: float

    @property
    def slowed_by(self) -> float:
        """The part of the orders a second that the groups cost."""
        return 1 - self.orders_per_s / self.orders_per_s_alone


class Insights(Struct, frozen=True, kw_only=True):
    """The measurements of the read side."""

    catch_up: CatchUp
    answers: Answers
    live: Live

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the measurements have to meet."""
        return (
            Target(name="events/s", found=self.catch_up.per_s, at_least=EVENTS_PER_S_AT_LEAST),
            Target(name="memory, MB", found=self.catch_up.spent.rss_mb[PLACE], at_most=RSS_MB_AT_MOST),
            Target(name="p99 of a query, ms", found=self.answers.p99_ms, at_most=QUERY_P99_MS_AT_MOST),
            Target(name="p99 of the lag, ms", found=self.live.lag_p99_ms, at_most=LAG_MS_AT_MOST),
            Target(name="orders/s lost", found=self.live.slowed_by, at_most=SLOWED_BY_AT_MOST),
        )


async def measure(plan: Plan) -> Insights:
    """Catch up on a full stream, ask, and then follow a busy shop."""
    catch_up, answers = await _catch_up(plan)
    return Insights(catch_up=catch_up, answers=answers, live=await _follow(plan))


async def _catch_up(plan: Plan) -> tuple[CatchUp, Answers]:
    settings = Settings()
    loaded = catalog.load_all(settings)
    group = loaded.read_sides[SIDE].group(GROUP)
    assert group is not None
    orders = await anyio.to_thread.run_sync(Orders)  # A simulation has an event loop of its own.
    placed = plan.events // orders.per_order // AT_ONCE * AT_ONCE
    async with stage(loaded.running.values()) as place:
        await _fill(place, orders, plan.events)
        last = (await place.broker.stream_info("EVENTS")).last_sequence
        heard = (await place.broker.consumer_info("EVENTS", PLACE)).pending
        bare_s = await _bare(place, last)
        worker = next(one for one in programs(loaded, settings) if one.name == PLACE)
        began = time.monotonic()
        async with place.running([worker]) as supervisor:
            costs = place.costs(supervisor)
            await _known(place.broker, last)
            seconds = time.monotonic() - began
            cost = spent(costs, place.costs(supervisor), sagas=last)
            await _bucket_is_full(place.broker, placed)
            buckets_s = time.monotonic() - began - seconds
            answers = await _ask(place.broker, placed, plan.queries)
            cost = replace(cost, rss_mb=place.costs(supervisor).rss_mb)
    catch_up = CatchUp(
        events=last, heard=heard, seconds=seconds, bare_seconds=bare_s, buckets_seconds=buckets_s, spent=cost
    )
    return catch_up, answers


async def _fill(place: Stage, orders: Orders, events: int) -> None:
    """Publish this many events, a thousand in one atomic batch."""
    batch = []
    for message in orders.messages(events):
        batch.append(message)
        if len(batch) == PUBLISHED_AT_ONCE:
            await place.broker.publish_batch(batch)
            batch = []
    if len(batch) > 1:
        await place.broker.publish_batch(batch)


async def _bare(place: Stage, events: int) -> float:
    """Read EVENTS as a group that catches up does, and only commit the position of each batch; returns the seconds."""
    wakeup = Wakeup()
    reader = Reader(
        place.broker,
        SystemClock(),
        "EVENTS",
        catch_up_of(PLACE),
        priority_timeout_s=1.0,
        wake=wakeup.set,
        pull_batch=BATCH_AT_MOST,
    )
    database = await Database.open(place.directory / "bare.db", schema="CREATE TABLE known (sequence)", version=1)
    began, read = time.monotonic(), 0
    await reader.read_from(0)
    while read < events:
        wakeup.clear()
        taken = reader.take(BATCH_AT_MOST)
        await reader.keep_alive()
        if taken:
            last = taken[-1].sequence
            await database.transact(lambda connection: connection.execute("INSERT INTO known VALUES (?)", (last,)))  # noqa: B023 - it is awaited at once
            read += len(taken)
        else:
            await wakeup.wait(0.1)
    seconds = time.monotonic() - began
    await reader.stop(hand_over=True)
    await database.close()
    return seconds


async def _known(broker: JetStream, sequence: int) -> None:
    """Wait until the group knows this sequence."""
    body = json.dumps({"order_id": "o-0", "at_least": sequence, "within_s": 30}).encode()
    with anyio.fail_after(WITHIN_S):
        while True:
            headers, _ = await broker.request("api.insights.Order", body, {}, 40.0)
            if "Nats-Service-Error-Code" not in headers:
                return


async def _bucket_is_full(broker: JetStream, orders: int) -> None:
    with anyio.fail_after(WITHIN_S):
        while True:
            if (await broker.stream_info("KV_orders")).messages >= orders:
                return
            await anyio.sleep(POLL_S)


async def _ask(broker: JetStream, orders: int, queries: int) -> Answers:
    """Ask for single orders, one after the other."""
    chance = random.Random(1)
    took_ms = []
    for _ in range(queries):
        body = json.dumps({"order_id": f"o-{chance.randrange(orders)}"}).encode()
        began = time.monotonic()
        headers, _answer = await broker.request("api.insights.Order", body, {}, 10.0)
        took_ms.append((time.monotonic() - began) * 1e3)
        assert "Nats-Service-Error-Code" not in headers, headers
    return Answers(p50_ms=_share(took_ms, 0.5), p99_ms=_share(took_ms, 0.99))


async def _follow(plan: Plan) -> Live:
    """The same load without the groups, with them, and without; and the lag while orders come one by one.

    The machine drifts, so the shop with the groups is measured between two others.
    """
    load = Load(kind="orders", count=plan.waiting)
    before = await _alone(load)
    async with shop(reading=True) as (place, supervisor):
        reading = await saturated(place, supervisor, load, place.consumers("ordering"))
        await _known(place.broker, (await place.broker.stream_info("EVENTS")).last_sequence)
        lags: list[float] = []
        shipped = await place.count(KINDS["orders"].ends_with)
        shipped_before = await shipped.now()
        open_load = Load(kind="orders", count=round(plan.seconds * plan.per_s), first=plan.waiting, per_s=plan.per_s)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_sample, place.broker, lags)
            await send(place, open_load)
            await shipped.reaches(shipped_before + open_load.count, within_s=WITHIN_S)
            tasks.cancel_scope.cancel()
        await place.quiet()
    return Live(
        lag_p50_ms=_share(lags, 0.5),
        lag_p99_ms=_share(lags, 0.99),
        orders_per_s=reading.throughput.per_s,
        orders_per_s_alone=(before + await _alone(load)) / 2,
    )


async def _alone(load: Load) -> float:
    """The orders a second of a shop without groups."""
    async with shop() as (place, supervisor):
        return (await saturated(place, supervisor, load, place.consumers("ordering"))).throughput.per_s


async def _sample(broker: JetStream, lags: list[float]) -> None:
    """How long it takes until an answer knows the last event that is stored now."""
    while True:
        last = (await broker.stream_info("EVENTS")).last_sequence
        body = msgspec.json.encode({"at_least": last, "within_s": 30, "limit": 1})
        began = time.monotonic()
        await broker.request("api.insights.Orders", body, {}, 40.0)
        lags.append((time.monotonic() - began) * 1e3)
        await anyio.sleep(0.05)


def _share(numbers: Sequence[float], share: float) -> float:
    return sorted(numbers)[min(int(len(numbers) * share), len(numbers) - 1)] if numbers else 0.0
