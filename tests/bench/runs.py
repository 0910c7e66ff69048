"""One run on a stage: sagas that all wait before the first is taken, or that come one by one at a given rate."""

from collections.abc import Collection

from msgspec import Struct

from shared.run.supervisor import Supervisor
from tests.bench.costs import Spent, spent
from tests.bench.load import KINDS, Load, send
from tests.bench.marks import Latency, Throughput, latency, marks, throughput
from tests.bench.stage import Stage

ENDS_WITHIN_S = 300.0


class Run(Struct, frozen=True, kw_only=True):
    """How fast it went and what it cost; `events` were published per saga."""

    throughput: Throughput
    events: float
    spent: Spent


class OpenLoop(Struct, frozen=True, kw_only=True):
    """How long a saga takes while this many begin in a second."""

    per_s: float
    latency: Latency
    spent: Spent


class Target(Struct, frozen=True, kw_only=True):
    """A measurement and its bound, `at_most` or else `at_least`."""

    name: str
    found: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def met(self) -> bool:
        """Whether it is true."""
        return (self.at_most is None or self.found <= self.at_most) and (
            self.at_least is None or self.found >= self.at_least
        )


async def saturated(place: Stage, supervisor: Supervisor, load: Load, commands: Collection[str]) -> Run:
    """Let `load` wait in COMMANDS before its consumers, `commands`, deliver the first."""
    kind = KINDS[load.kind]
    ended = await place.count(kind.ends_with)
    ended_before = await ended.now()
    await place.hold_back(commands)
    await send(place, load)
    events = (await place.broker.stream_info("EVENTS")).last_sequence
    costs = place.costs(supervisor)
    await place.let_go(commands)
    await ended.reaches(ended_before + load.count, within_s=ENDS_WITHIN_S)
    await place.quiet()
    cost = spent(costs, place.costs(supervisor), sagas=load.count)
    events = (await place.broker.stream_info("EVENTS")).last_sequence - events
    return Run(
        throughput=throughput(await marks(place.broker, kind.begins_with), await marks(place.broker, kind.ends_with)),
        events=events / load.count,
        spent=cost,
    )


async def open_loop(place: Stage, supervisor: Supervisor, load: Load) -> OpenLoop:
    """Send `load` at its rate, after a second's worth of sagas that do not count."""
    kind = KINDS[load.kind]
    ended = await place.count(kind.ends_with)
    ended_before = await ended.now()
    warming = Load(kind=load.kind, count=round(load.per_s), first=load.first, per_s=load.per_s)
    await send(place, warming)
    measured = Load(kind=load.kind, count=load.count, first=load.first + warming.count, per_s=load.per_s)
    costs = place.costs(supervisor)
    sent = await send(place, measured)
    await ended.reaches(ended_before + warming.count + load.count, within_s=ENDS_WITHIN_S)
    cost = spent(costs, place.costs(supervisor), sagas=load.count)
    return OpenLoop(
        per_s=load.per_s,
        latency=latency(sent.at_ns, await marks(place.broker, kind.ends_with), sent.late_ms),
        spent=cost,
    )
