"""Runs a whole system for a test in this process: every context, the broker, and time that passes only on demand.

    from contexts.here.commands import DoThing
    from shared.simulation.testing import simulation

    def test_thing_that_is_refused_is_undone() -> None:
        with simulation(seed=1) as running:
            running.send(DoThing(...), key="k-1")
            running.run_until_quiet()
            assert running.facts("k-1", of="here") == ["ThingDone", "ThingUndone"]

The contexts, the engine and SQLite are the real ones; JetStream has its twin in memory and the clock is virtual, so a
day passes in milliseconds (`advance(hours=24)`). The seed decides what would be chance, such as how long a message
travels. The same seed gives the same streams, byte for byte; another seed gives another sequence of events. A test
needs no `async`: time stands still while it looks. An asyncio runner keeps the loop between two steps of a test, which
anyio.run cannot.
"""

import asyncio
import logging
import random
import tempfile
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import structlog

from shared import catalog
from shared.adapters.memory import MemoryBroker, MemoryServer
from shared.adapters.sqlite.reading import open_read_only
from shared.adapters.virtual_time import VirtualLoop
from shared.context import Command, Context
from shared.inspect.timeline.tree import Message, message_of
from shared.ports.broker import Outgoing, Published
from shared.simulation.world import StillBusyError, World
from shared.wire.bodies import stamped_fields
from shared.wire.messages import ACTING_FOR, MSG_ID, NEVER, command_subject
from shared.wire.streams import EVENTS

__all__ = ["Simulation", "StillBusyError", "simulation"]

T = TypeVar("T")

QUIET_WITHIN = timedelta(minutes=10)


@contextmanager
def simulation(
    seed: int = 0,
    *,
    at_work: Sequence[str] | None = None,
    with_read_sides: bool = False,
    partitions: int | None = None,
    log_level: Literal["debug", "info", "warning", "error", "critical"] = "critical",
    **settings: Any,
) -> Iterator["Simulation"]:
    """Run a system while the block runs, in a directory of its own.

    `at_work` are the contexts to start, all by default. Read sides start only with `with_read_sides`, or named there:
    no saga waits for them. `partitions` replaces the number in streams.yaml.
    Log lines are shown from `log_level` on. Other arguments are settings by their names (`chorus config`), such as
    `drain_timeout=timedelta(seconds=5)`.
    """
    with tempfile.TemporaryDirectory(prefix="chorus-") as directory, _logging_from(log_level), _Time(seed) as time:
        world = World(
            catalog.settings_with({"data_dir": Path(directory), **settings}), time.loop, partitions=partitions
        )
        everybody = catalog.names() if with_read_sides else world.members
        for name in everybody if at_work is None else at_work:
            world.start(name)
        running = Simulation(world, time)
        try:
            running.run_until_quiet()
            yield running
        finally:
            running.run(world.close())


class Simulation:
    """A running system, from `simulation(…)`."""

    def __init__(self, world: World, time: "_Time") -> None:
        self._world = world
        self._time = time
        self._broker = MemoryBroker(world.server, faultless=True)

    def send(self, command: Command, *, key: str = "", message_id: str | None = None) -> Published:
        """Send a command as a client would, in bare JSON, and wait for its PubAck.

        `key` may be left out when the command names it. Raises BrokerRefusedError when the stream refuses it.
        """
        context = next((one for one in self._contexts if type(command) in one.accepts), None)
        if context is None:
            raise ValueError(f"no context accepts {type(command).__name__} from a client")
        stamped = stamped_fields(type(command))
        content = msgspec.to_builtins(command)
        key = key or content[stamped["key"]]
        for how, unset in (("key", ""), ("at", NEVER)):
            if how in stamped and getattr(command, stamped[how]) == unset:
                del content[stamped[how]]
        headers = {MSG_ID: message_id} if message_id else {}
        if actor := content.pop(stamped.get("actor"), ""):
            headers[ACTING_FOR] = actor
        subject = command_subject(context.name, type(command).__name__, key)
        return self.publish(subject, msgspec.json.encode(content), headers)

    def publish(self, subject: str, body: bytes, headers: Mapping[str, str] | None = None) -> Published:
        """Publish anything anywhere, as the nats CLI would, and wait for its PubAck."""
        return self.run(self._broker.publish(Outgoing(subject, headers or {}, body)))

    def request(self, subject: str, body: bytes, *, within: timedelta = timedelta(seconds=1)) -> bytes:
        """Ask a service as `nats req` would, and return the first answer; raises BrokerUnavailableError without one."""
        _, answer = self.run(self.asking(subject, body, {}, within=within))
        return answer

    def asking(
        self, subject: str, body: bytes, headers: Mapping[str, str], *, within: timedelta = timedelta(seconds=1)
    ) -> Awaitable[tuple[Mapping[str, str], bytes]]:
        """A request for `run`, which returns the headers and the body of the answer; several may run at once."""
        return self._broker.request(subject, body, headers, within.total_seconds())

    def run_until_quiet(self, within: timedelta = QUIET_WITHIN) -> None:
        """Run until no work is left; deadlines that lie ahead stay ahead.

        Raises StillBusyError after `within` of virtual time, for example when an effect asks an outside that is away.
        """
        self.run(self._world.until_quiet(within))

    def run_until(self, key: str, event: str, within: timedelta = QUIET_WITHIN) -> None:
        """Run until an event is published under a key; raises StillBusyError after `within` of virtual time."""
        self.run(self._world.until(lambda: event in self.facts(key), f"{event} of {key} was not published", within))

    def advance(self, *, days: float = 0, hours: float = 0, minutes: float = 0, seconds: float = 0) -> None:
        """Let virtual time pass, and run the work that comes due meanwhile."""
        by = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
        self.run(self._world.let_pass(by))

    def put_clock(self, by: timedelta) -> None:
        """Set the clock of the whole system forward or back. Timers that are then due come due; no time passes."""
        self._world.clock.put_forward(by)

    @property
    def now(self) -> datetime:
        """The time, aware and UTC."""
        return self._world.clock.now()

    def facts(self, key: str, *, of: str | None = None) -> list[str]:
        """The events under a key in stream order, by name; with `of`, those of one context."""
        return [event.type for event in self.events(key) if of in (None, event.context)]

    def events(self, key: str) -> list[Message]:
        """The events under a key in stream order, with their bodies, ids, causes and times.

        An event that is stored twice under its id, because the broker had forgotten the id, counts once.
        """
        return list({event.id: event for event in reversed(self._events()) if event.key == key}.values())[::-1]

    def content(self, key: str, event: str) -> Any:
        """The decoded body of an event; there must be exactly one of this type under the key."""
        (found,) = [one for one in self.events(key) if one.type == event]
        return msgspec.json.decode(found.body)

    def rows(self, name: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Query the database of a context, which may be running."""
        with closing(open_read_only(self._world.settings.data_dir / f"{name}.db")) as database:
            return database.execute(query, parameters).fetchall()

    def start(self, name: str, *, partitions: Sequence[int] | None = None, member: Context | None = None) -> None:
        """Start a process of a context; two processes of a context share its partitions.

        `member` replaces the context as the catalog has it, for example by that of an older release.
        """
        self._world.start(name, partitions=partitions, member=member)

    def stop(self, name: str) -> None:
        """Stop a context once it has finished the work that it has begun."""
        self.run(self._world.stop(name))

    def kill(self, name: str) -> None:
        """Kill a context in the middle of its work."""
        self.run(self._world.kill(name))

    @property
    def server(self) -> MemoryServer:
        """The broker, for acts of an operator and for faults (shared/adapters/memory)."""
        return self._world.server

    @property
    def directory(self) -> Path:
        """The directory of the databases and of the files that effects write."""
        return self._world.settings.data_dir

    def run(self, work: Awaitable[T]) -> T:
        """Await the test's own work in the system's virtual time."""

        async def wait() -> T:
            return await work

        return self._time.run(wait())

    @property
    def _contexts(self) -> Iterator[Context]:
        return iter(self._world.members.values())

    def _events(self) -> list[Message]:
        kept = self.server.stream(EVENTS).messages.values()
        return [message_of(EVENTS, message.as_stored(EVENTS)) for message in kept]


class _Time:
    """Virtual time, which passes only in `run`. There the module `random` draws from the seed too."""

    def __init__(self, seed: int) -> None:
        self.loop = VirtualLoop(seed)
        self._runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self._chance = random.Random(seed).getstate()  # noqa: S311  Repeatable chance, no secret.

    def __enter__(self) -> "_Time":
        self._runner.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let time pass until the work is done."""
        outside = random.getstate()
        random.setstate(self._chance)
        try:
            return self._runner.run(work)
        finally:
            self._chance = random.getstate()
            random.setstate(outside)


@contextmanager
def _logging_from(log_level: str) -> Iterator[None]:
    """Show log lines from this level on while the block runs."""
    before = structlog.get_config()
    least = logging.getLevelNamesMapping()[log_level.upper()]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(least))
    try:
        yield
    finally:
        structlog.configure(**before)
