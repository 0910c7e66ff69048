"""Runs a whole system in one process and in virtual time: every context, on a broker in memory.

Each process is an asyncio task: a test starts it, kills it or awaits it at any time, outside of any anyio task group.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import anyio
from msgspec.structs import replace

from shared import catalog
from shared.adapters.memory import MemoryBroker, MemoryServer
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.views.store import SqliteViewStore, only_one
from shared.adapters.virtual_time import VirtualClock, VirtualLoop
from shared.config.settings import Settings
from shared.context import Context, Member
from shared.derived.topology import declare
from shared.engine.intake.reader import Phase
from shared.engine.monitor.alarms import Alarms
from shared.engine.process import ContextProcess, check_streams
from shared.groups.process import GroupProcess
from shared.ports.broker import BrokerUnavailableError
from shared.readside.group import Group, ReadSide, place_of
from shared.streams.file import read_topology
from shared.wire.streams import EVENTS

LOOKED_AFTER_S = 0.005
LOOKED_AFTER_AT_MOST_S = 0.25
STARTED_AGAIN_AFTER_S = 1.0
STEP_S = 1.0
"""The step in which time passes while a process has work; time without work is skipped."""


class StillBusyError(Exception):
    """The system has work left after the given time; the text lists the work."""


class World:
    """The system of the catalog, at first without a process. Each process has a connection of its own."""

    def __init__(self, settings: Settings, loop: VirtualLoop, *, partitions: int | None = None) -> None:
        self.settings = settings
        self.clock = VirtualClock(loop)
        self.server = MemoryServer(loop, self.clock)
        members = catalog.members(settings)
        self.members = {name: member for name, member in members.items() if isinstance(member, Context)}
        topology = read_topology(settings.streams_file)
        self.topology = topology if partitions is None else replace(topology, partitions=partitions)
        self.server.apply(declare(self.topology, members.values()))
        self._at_work: list[_AtWork] = []

    def start(self, name: str, *, partitions: Sequence[int] | None = None, member: Context | None = None) -> None:
        """Start one more process of a context; `partitions` limits it to some of them.

        `member` replaces the context as the catalog has it, for example by that of an older release.
        """
        running = member or catalog.load_member(name, self.settings)
        numbers = range(self.topology.partitions) if partitions is None else partitions
        self._at_work.append(_AtWork(self, running, numbers))

    async def stop(self, name: str) -> None:
        """Stop every process of a name once it has finished the work that it has begun."""
        for one in self._of(name):
            one.stop()
            await one.task
            self._at_work.remove(one)

    async def kill(self, name: str) -> None:
        """Kill every process of a name in the middle of its work. Its commits and publications stay."""
        for one in self._of(name):
            one.broker.close()
            one.task.cancel()
            await asyncio.wait([one.task])
            self._at_work.remove(one)

    async def close(self) -> None:
        """Kill all processes."""
        for name in {one.name: None for one in self._at_work}:
            await self.kill(name)

    def unfinished(self) -> Iterator[str]:
        """The work that is left, deadlines aside; raises the exception of a context that has died."""
        owned: dict[str, set[int]] = {}
        for one in self._at_work:
            if one.task.done():
                one.task.result()
            for group in one.groups:
                info, reader = self.server.consumer(EVENTS, group.name).info(), group.reading.reader
                under_way = info.pending or info.delivered_consumer_sequence != reader.consumer_sequence
                if under_way or group.progress.known.sequence < reader.received or not group.is_resting:
                    yield f"{group.name} has to read {EVENTS}"
            if one.process is None:
                if len(one.groups) < one.groups_in_all or isinstance(one.member, Context):
                    yield f"{one.name} is starting"
                continue
            owned.setdefault(one.name, set()).update(one.process.ownership.owned)
            yield from self._to_do(one.process)
        for one in self._at_work:
            missing = set(one.numbers) - owned.get(one.name, set())
            if missing and isinstance(one.member, Context):
                yield f"{one.name} has not taken partition {min(missing)} yet"

    async def until_quiet(self, within: timedelta) -> None:
        """Wait until no work is left; raises StillBusyError after `within` of virtual time."""
        await self.until(lambda: next(self.unfinished(), None) is None, "still busy", within)

    async def until(self, true: Callable[[], bool], otherwise: str, within: timedelta) -> None:
        """Wait until `true()` holds; raises StillBusyError after `within` of virtual time."""
        give_up_at = self.clock.monotonic() + within.total_seconds()
        pause = LOOKED_AFTER_S
        while not true():
            if self.clock.monotonic() > give_up_at:
                raise StillBusyError(f"{otherwise} after {within}: {'; '.join(self.unfinished())}")
            await self.clock.sleep(pause)
            pause = min(pause * 1.5, LOOKED_AFTER_AT_MOST_S)

    async def let_pass(self, by: timedelta) -> None:
        """Let time pass, and run the work that comes due. Hours without work are skipped."""
        until = self.clock.now() + by
        while (left := until - self.clock.now()) > timedelta(0):
            if next(self.unfinished(), None) is None:
                next_call = self.clock.next_call
                quiet = left if next_call is None else min(left, max(next_call - self.clock.now(), timedelta(0)))
                self.clock.put_forward(quiet)
            await self.clock.sleep(min(left.total_seconds(), LOOKED_AFTER_S))
            try:
                await self.until_quiet(min(left, timedelta(seconds=STEP_S)))
            except StillBusyError:
                continue

    def _of(self, name: str) -> list["_AtWork"]:
        found = [one for one in self._at_work if one.name == name]
        assert found, f"{name} is not at work"
        return found

    def _to_do(self, process: ContextProcess) -> Iterator[str]:
        name = process.context.name
        if process.relay.backlog:
            yield f"{name} has {process.relay.backlog} messages to publish"
        if process.relay.has_news:
            yield f"{name} has to record what is published"
        if process.effects.backlog or process.effects.outcomes:
            yield f"{name} waits for the outcome of {process.effects.backlog + process.effects.outcomes} calls"
        if not process.loop.is_resting:
            yield f"{name} is deciding"
        for partition in process.ownership.partitions.values():
            for stream, reader in partition.readers.items():
                if not partition.is_owned:
                    continue
                info = self.server.consumer(stream, reader.consumer).info()
                under_way = info.pending or info.delivered_consumer_sequence != reader.consumer_sequence
                if reader.phase is not Phase.READING or under_way or reader.buffered:
                    yield f"{name} has to read {stream} in partition {partition.number}"


class _AtWork:
    """One process of a context, or of all groups of a read side."""

    def __init__(self, world: World, member: Member, numbers: Sequence[int]) -> None:
        self.name = member.name
        self.member = member
        self.groups: list[GroupProcess] = []
        self.groups_in_all = len(_simulated(member)) if isinstance(member, ReadSide) else 0
        self.numbers = numbers
        self.broker = MemoryBroker(world.server)
        self.process: ContextProcess | None = None
        self._world = world
        self.task = world.server.loop.create_task(self._run(), name=member.name)

    def stop(self) -> None:
        """Stop the process once it has finished the work that it has begun."""
        if self.process is not None:
            self.process.loop.stop()
        for group in self.groups:
            group.stop()

    async def _run(self) -> None:
        """Work until `stop`. A process that found no broker while it started is started again, as `chorus up` does."""
        broker_was_away = True
        while broker_was_away:
            broker_was_away = False
            self.process = None
            self.groups.clear()
            try:
                await (self._read(self.member) if isinstance(self.member, ReadSide) else self._decide(self.member))
            except* BrokerUnavailableError:
                broker_was_away = True
            self.broker.close()
            if broker_was_away:
                await self._world.clock.sleep(STARTED_AGAIN_AFTER_S)
                self.broker = MemoryBroker(self._world.server)

    async def _read(self, side: ReadSide) -> None:
        async with anyio.create_task_group() as tasks:
            for group in _simulated(side):
                tasks.start_soon(self._read_group, side.name, group)

    async def _read_group(self, context: str, group: Group) -> None:
        world = self._world
        path = world.settings.data_dir / f"{place_of(context, group.name)}.db"
        with only_one(path) as alone:
            assert alone, f"{path} belongs to another process"
            process = GroupProcess(
                context,
                group,
                await SqliteViewStore.open(path, group),
                self.broker,
                world.clock,
                alarms=Alarms(world.clock),
                priority_timeout_s=world.topology.consumers.priority_timeout.total_seconds(),
            )
            self.groups.append(process)
            async with process.at_work():
                await process.run()

    async def _decide(self, context: Context) -> None:
        settings, topology = self._world.settings, self._world.topology
        await check_streams(context, self.broker, topology.partitions, self.numbers)
        if context.before_open is not None:
            await context.before_open(settings.data_dir, topology.partitions)
        self.process = ContextProcess(
            context,
            await SqliteDatabases(settings.data_dir).open(context.name),
            self.broker,
            self._world.clock,
            numbers=self.numbers,
            partitions=topology.partitions,
            priority_timeout_s=topology.consumers.priority_timeout.total_seconds(),
            batch_at_most=settings.batch_at_most,
            records_inputs=settings.record_inputs,
        )
        async with self.process.at_work():
            await self.process.loop.run()
            await self.process.drain(settings.drain_timeout.total_seconds())


def _simulated(side: ReadSide) -> list[Group]:
    """The groups that need nothing from outside; an HTTP endpoint is outside."""
    return [group for group in side.groups if group.forwards is None]
