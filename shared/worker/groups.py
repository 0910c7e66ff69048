"""Runs groups of a read side in this process: one of them, or all."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NamedTuple

import anyio
import structlog
from anyio import TASK_STATUS_IGNORED
from anyio.abc import TaskStatus

from shared.adapters.clock import SystemClock
from shared.adapters.jetstream import JetStream
from shared.adapters.sqlite.views.store import SqliteViewStore, only_one
from shared.config.settings import Settings
from shared.config.spelling import did_you_mean
from shared.engine.monitor.alarms import Alarms
from shared.engine.process import MisconfiguredError
from shared.groups.process import GroupProcess
from shared.ports.broker import Broker, BrokerRefusedError, BrokerUnavailableError
from shared.ports.forwards import Sender
from shared.readside.group import Group, ReadSide, catch_up_of, place_of
from shared.streams.file import read_topology
from shared.wire.streams import EVENTS
from shared.worker.lifecycle import once_free, stop_on_signal_or_disconnect
from shared.worker.pulse import Pulse

NICER_BY: Final = 5
"""No saga waits for the read side, so the processes that decide come first where the processors are busy."""
STANDBY_POLL_S = 0.2
"""How often a process checks whether the one that runs the group has ended."""

_log = structlog.get_logger("chorus.worker")


class _Running:
    """The groups that run here, to be stopped together."""

    def __init__(self) -> None:
        self.processes: list[GroupProcess] = []
        self.stopped = anyio.Event()

    def stalled_s(self) -> float:
        """How long the slowest loop has not come round."""
        return max((process.stalled_s for process in self.processes), default=0.0)

    def stop(self) -> None:
        """Take no new messages."""
        self.stopped.set()
        for process in self.processes:
            process.stop()


def chosen(side: ReadSide, name: str | None) -> tuple[Group, ...]:
    """The group of this name, or all; raises MisconfiguredError."""
    if name is None:
        return side.groups
    if (group := side.group(name)) is None:
        known = [one.name for one in side.groups]
        raise MisconfiguredError(
            f"{side.name} has no group {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}"
        )
    return (group,)


async def check_group(context: str, group: Group, broker: Broker) -> None:
    """Raise MisconfiguredError when `streams apply` is needed before the group can read and write."""
    try:
        for consumer in (place := place_of(context, group.name), catch_up_of(place)):
            await broker.consumer_info(EVENTS, consumer)
        for table in group.buckets:
            await broker.stream_info(f"KV_{table.name}")
    except BrokerRefusedError as error:
        raise MisconfiguredError(f"{error.subject}: {error.text}; run chorus streams apply") from error


async def run_groups(side: ReadSide, name: str | None, broker: JetStream, settings: Settings, pulse: Pulse) -> None:
    """Run one group, or all, until a signal or the end of the connection."""
    groups = chosen(side, name)
    os.nice(NICER_BY)
    topology = read_topology(settings.streams_file)
    for group in groups:
        await check_group(side.name, group, broker)
    senders = {group.name: _sender(group) for group in groups}
    running = _Running()
    pulse.alarms = Alarms(SystemClock())
    if settings.metrics_port is not None:
        from shared.engine.metrics import serve_collector  # A tenth of a worker's imports, which few need.
        from shared.groups.metrics import GroupCollector

        collector = GroupCollector(side.name, running.processes, pulse.alarms)
        serve_collector(collector, settings.metrics_host, settings.metrics_port)
    timeout_s = topology.consumers.priority_timeout.total_seconds()
    async with anyio.create_task_group() as signals:
        signals.start_soon(stop_on_signal_or_disconnect, broker.closed, running)
        async with anyio.create_task_group() as tasks:
            for group in groups:
                path = settings.data_dir / f"{place_of(side.name, group.name)}.db"
                sender = senders[group.name]
                starting = _Starting(side.name, group, path, broker, running, pulse.alarms, timeout_s, sender)
                await tasks.start(starting.run)
            pulse.stalled_s = running.stalled_s
            pulse.ready()
        pulse.stopping()
        signals.cancel_scope.cancel()
    if broker.closed.is_set():
        raise BrokerUnavailableError("the client closed the connection for good")


def _sender(group: Group) -> Sender | None:
    """The endpoint of a group that forwards; raises MisconfiguredError."""
    if group.forwards is None:
        return None
    if not group.forwards.secret:
        raise MisconfiguredError(f"the group {group.name} has no secret to sign with: set it (chorus config lists it)")
    try:
        from shared.adapters.http import HttpSender  # An extra, which other groups do without.
    except ModuleNotFoundError as error:
        raise MisconfiguredError(
            f"the group {group.name} needs the package {error.name}: install chorus[integration]"
        ) from error
    return HttpSender(group.forwards.url, timeout_s=group.forwards.timeout_s)


class _Starting(NamedTuple):
    """One group that starts in this process."""

    context: str
    group: Group
    path: Path
    broker: JetStream
    running: _Running
    alarms: Alarms
    priority_timeout_s: float
    sender: Sender | None

    async def run(self, *, task_status: TaskStatus[None] = TASK_STATUS_IGNORED) -> None:
        """Become the group once no other process is, and run it until it is stopped.

        It has started once it answers queries, or stands by.
        """
        clock, has_started = SystemClock(), False
        while not self.running.stopped.is_set():
            with only_one(self.path) as alone:
                if alone:
                    async with self._process(await self._open(clock), clock) as process:
                        if not has_started:
                            task_status.started()
                        _log.info("ready", group=self.group.name)
                        await process.run()
                    return
            if not has_started:
                _log.info("standing by: another process runs the group", group=self.group.name)
                task_status.started()
            has_started = True
            await clock.sleep(STANDBY_POLL_S)
        if not has_started:
            task_status.started()

    async def _open(self, clock: SystemClock) -> SqliteViewStore:
        return await once_free(lambda: SqliteViewStore.open(self.path, self.group), clock)

    @asynccontextmanager
    async def _process(self, store: SqliteViewStore, clock: SystemClock) -> AsyncIterator[GroupProcess]:
        process = GroupProcess(
            self.context,
            self.group,
            store,
            self.broker,
            clock,
            alarms=self.alarms,
            priority_timeout_s=self.priority_timeout_s,
            sender=self.sender,
        )
        self.running.processes.append(process)
        if self.running.stopped.is_set():
            process.stop()
        async with process.at_work():
            yield process
