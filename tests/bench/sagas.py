"""The chain: four tiny contexts, five hops, beside the bare loop and beside one unloaded hop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import median
from typing import Literal

from msgspec import Struct

from shared.run.supervisor import Supervisor
from tests.bench import bare, chain
from tests.bench.hop import Hop, unloaded_hop
from tests.bench.load import Load
from tests.bench.profiles import Profile, profile_of
from tests.bench.runs import OpenLoop, Run, Target, open_loop, saturated
from tests.bench.stage import Stage, bench_program, stage

HOPS = 5
RATIO_AT_LEAST = 0.5
P50_HOPS_AT_MOST = 5
P99_HOPS_AT_MOST = 25

Loop = Literal["bare", "chorus"]


class Plan(Struct, frozen=True, kw_only=True):
    """How much is measured."""

    sagas: int = 5_000
    times: int = 3
    hops: int = 300
    per_s: float = 100.0
    seconds: int = 20


QUICK = Plan(sagas=100, times=1, hops=10, per_s=50.0, seconds=1)


class Chain(Struct, frozen=True, kw_only=True):
    """The measurements."""

    hop: Hop
    bare: tuple[Run, ...]
    chorus: tuple[Run, ...]
    open_loop: OpenLoop

    @property
    def targets(self) -> tuple[Target, ...]:
        """The targets that the measurements have to meet."""
        five_hops_ms = HOPS * self.hop.hop_ms
        latency = self.open_loop.latency
        return (
            Target(name="sagas/s, of the bare loop's", found=self.ratio, at_least=RATIO_AT_LEAST),
            Target(name="median, in five unloaded hops", found=latency.p50_ms / five_hops_ms, at_most=P50_HOPS_AT_MOST),
            Target(name="p99, in five unloaded hops", found=latency.p99_ms / five_hops_ms, at_most=P99_HOPS_AT_MOST),
        )

    @property
    def ratio(self) -> float:
        """Chorus's sagas a second as a part of the bare loop's, medians of both."""
        return sagas_per_s(self.chorus) / sagas_per_s(self.bare)


def sagas_per_s(runs: tuple[Run, ...]) -> float:
    """The median of the runs."""
    return median(run.throughput.per_s for run in runs)


async def measure(plan: Plan) -> Chain:
    """Bare and Chorus take turns, each time on an empty server, so that both have the machine's good moments."""
    hop = await unloaded_hop(plan.hops)
    runs: dict[Loop, list[Run]] = {"bare": [], "chorus": []}
    for _ in range(plan.times):
        for loop, done in runs.items():
            done.append(await saturated_ring(loop, plan.sagas))
    async with _ring("chorus") as (place, supervisor):
        load = Load(kind="sagas", count=round(plan.seconds * plan.per_s), per_s=plan.per_s)
        slow = await open_loop(place, supervisor, load)
    return Chain(hop=hop, bare=tuple(runs["bare"]), chorus=tuple(runs["chorus"]), open_loop=slow)


async def profile(plan: Plan, context: str) -> Profile:
    """Where one context's process spends its time while sagas queue."""
    async with stage(chain.contexts()) as place:
        file = place.directory / "profile"
        programs = [
            bench_program(name, "worker", name, *([str(file)] if name == context else [])) for name in chain.NAMES
        ]
        async with place.running(programs) as supervisor:
            await place.held(chain.NAMES)
            await saturated(place, supervisor, Load(kind="sagas", count=plan.sagas), _commands("chorus", place))
        return profile_of(file, sagas=plan.sagas)


async def saturated_ring(loop: Loop, sagas: int) -> Run:
    """Run a number of sagas that all wait before the first is taken, on an empty server."""
    async with _ring(loop) as (place, supervisor):
        return await saturated(place, supervisor, Load(kind="sagas", count=sagas), _commands(loop, place))


@asynccontextmanager
async def _ring(loop: Loop) -> AsyncIterator[tuple[Stage, Supervisor]]:
    module, consumers = ("bare", bare.consumers()) if loop == "bare" else ("worker", None)
    async with (
        stage(chain.contexts(), consumers) as place,
        place.running([bench_program(name, module, name) for name in chain.NAMES]) as supervisor,
    ):
        if loop == "chorus":
            await place.held(chain.NAMES)
        yield place, supervisor


def _commands(loop: Loop, place: Stage) -> list[str]:
    return ["bare-alpha"] if loop == "bare" else place.consumers("alpha")
