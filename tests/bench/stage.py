"""Where a measurement takes place: a server that syncs before it acknowledges, its streams, and the processes on it."""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import anyio

from shared.access.roles import users
from shared.adapters.jetstream import JetStream, connect
from shared.config.settings import Settings
from shared.context import Member
from shared.derived.topology import Declared, consumer_name, declare
from shared.run.child_process import ChildProgram
from shared.run.server import check_sync_always, local_server
from shared.run.staging import stage_in_ram
from shared.run.supervisor import Supervisor, supervised
from shared.run.system import own_environment
from shared.streams.apply import apply
from shared.streams.file import read_topology
from tests.bench.costs import Reading, read_costs
from tests.guarded import SECURE, as_tests, guard

HELD_WITHIN_S = 30.0
QUIET_FOR_S = 0.5
QUIET_WITHIN_S = 300.0
POLL_S = 0.02
SUPERVISOR = "chorus"


class WorkerTroubleError(Exception):
    """A process ended or hung while it was measured: the figures mean nothing."""


class Stage:
    """A running server with streams. Every process that is started here counts in `costs`."""

    def __init__(self, broker: JetStream, url: str, server_pid: int, directory: Path, partitions: int) -> None:
        self.broker = broker
        self.url = url
        self.directory = directory
        self._server_pid = server_pid
        self._partitions = partitions

    @asynccontextmanager
    async def running(self, programs: Iterable[ChildProgram]) -> AsyncIterator[Supervisor]:
        """The programs, ready; what they warn of is counted on standard error.

        Raises:
            WorkerTroubleError: one of them ended or hung, at any time.
        """
        warned: Counter[str] = Counter()

        def tell(name: str, line: str) -> None:
            if name == SUPERVISOR:
                raise WorkerTroubleError(line)
            try:
                warned[f"{name}: {json.loads(line)['event']}"] += 1
            except (ValueError, KeyError):
                print(f"{name}: {line}", file=sys.stderr)

        environment = own_environment(os.environ, url=self.url, data_dir=self.directory)
        environment |= {"CHORUS_LOG_LEVEL": "warning", "CHORUS_LOG_FORMAT": "json"}
        try:
            async with supervised(programs, environment, tell) as supervisor:
                await supervisor.ready()
                yield supervisor
        finally:
            for warning, times in warned.items():
                print(f"{warning}, {times} times", file=sys.stderr)

    async def held(self, contexts: Collection[str]) -> None:
        """Wait until every partition of these contexts has an owner."""
        free = [consumer for context in contexts for consumer in self.consumers(context)]
        with anyio.fail_after(HELD_WITHIN_S):
            while free:
                if (await self.broker.consumer_info("TIMERS", free[-1])).pinned:
                    free.pop()
                else:
                    await anyio.sleep(POLL_S)

    async def hold_back(self, commands: Collection[str]) -> None:
        """Deliver no commands to these consumers of COMMANDS, so that many can be waiting before the first is taken."""
        await self._pause(commands, {"pause_until": "2099-01-01T00:00:00Z"})

    async def let_go(self, commands: Collection[str]) -> None:
        """Deliver the messages that were held back."""
        await self._pause(commands, {})

    async def _pause(self, consumers: Collection[str], until: Mapping[str, str]) -> None:
        for consumer in consumers:
            body = json.dumps(until).encode()
            answer = json.loads(await self.broker.api(f"$JS.API.CONSUMER.PAUSE.COMMANDS.{consumer}", body))
            assert "error" not in answer, answer

    async def quiet(self) -> None:
        """Wait until nothing has been published for a while: the last saga may have ended before its last letter."""
        with anyio.fail_after(QUIET_WITHIN_S):
            last = -1
            while (found := (await self.broker.stream_info("EVENTS")).last_sequence) != last:
                last = found
                await anyio.sleep(QUIET_FOR_S)

    def consumers(self, context: str) -> list[str]:
        """A context's consumers on each of its streams."""
        return [consumer_name(context, partition) for partition in range(self._partitions)]

    def costs(self, supervisor: Supervisor) -> Reading:
        """The cost of the server and of the programs since they were started."""
        return read_costs({"server": self._server_pid, **supervisor.pids})

    async def count(self, subject: str) -> "Count":
        """Counts what EVENTS holds under a subject filter, without reading it."""
        return await Count.of(self.broker, subject)


class Count:
    """A consumer that is never read: what it still has to deliver is how many there are."""

    def __init__(self, broker: JetStream, name: str) -> None:
        self._broker = broker
        self._name = name

    @classmethod
    async def of(cls, broker: JetStream, subject: str) -> "Count":
        """Count what matches."""
        config = {"filter_subject": subject, "deliver_policy": "all", "ack_policy": "none", "mem_storage": True}
        request = {"stream_name": "EVENTS", "config": {**config, "inactive_threshold": int(3600e9)}}
        answer = json.loads(await broker.api("$JS.API.CONSUMER.CREATE.EVENTS", json.dumps(request).encode()))
        return cls(broker, answer["name"])

    async def now(self) -> int:
        """How many there are."""
        return (await self._broker.consumer_info("EVENTS", self._name)).pending

    async def reaches(self, wanted: int, *, within_s: float) -> None:
        """Wait for this many; raises TimeoutError with the number there is."""
        found = -1
        with anyio.move_on_after(within_s):
            while True:
                found = await self.now()
                if found >= wanted:
                    return
                await anyio.sleep(POLL_S)
        raise TimeoutError(f"{found} of {wanted} after {within_s:.0f} s")


@asynccontextmanager
async def stage(
    members: Iterable[Member], consumers: Sequence[Declared] | None = None, *, secure: bool = SECURE
) -> AsyncIterator[Stage]:
    """An empty server with the members' streams and consumers, or with others; it stops when the block is left.

    With `secure` it knows the users of the members, and each worker connects as its own. The directory stays until the
    bench ends (`in_one_directory`).
    """
    topology = read_topology(Settings().streams_file)
    by_name = {member.name: member for member in members}
    declared = declare(topology, by_name.values())
    if consumers is not None:
        declared = (*(part for part in declared if part.kind == "stream"), *consumers)
    directory = Path(tempfile.mkdtemp(prefix="chorus-bench-"))
    more = guard(directory / "access", users(topology, by_name)) if secure else {}
    async with local_server(directory / "nats", more=more) as server:
        await check_sync_always(server.monitor_url)
        broker = await connect(as_tests(server.url), name="bench")
        try:
            await apply(broker.api, declared)
            await stage_in_ram(server.directory)
            yield Stage(broker, server.url, server.pid, directory, topology.partitions)
        finally:
            await broker.close()


def bench_program(name: str, module: str, *arguments: str) -> ChildProgram:
    """A program of the bench's own."""
    return ChildProgram(name, (sys.executable, "-m", f"tests.bench.{module}", *arguments))


@contextmanager
def in_one_directory() -> Iterator[None]:
    """Keep the directories of all stages until the end, and then delete them.

    On ext4 without a journal it takes longer to create a file for some minutes after many were deleted. A stage that
    was deleted would slow the next one by a fifth.
    """
    usual = tempfile.tempdir
    with tempfile.TemporaryDirectory(prefix="chorus-bench-") as directory:
        tempfile.tempdir = directory
        try:
            yield
        finally:
            tempfile.tempdir = usual
