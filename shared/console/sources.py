"""Holds the parts that the pages read from: the broker, the databases on this machine, and the declared system."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

import anyio
import anyio.to_thread

from shared.config.settings import Settings
from shared.inspect.patience import Patience
from shared.inspect.saga_reader import SagaReader
from shared.ports.broker import Broker
from shared.ports.clock import Clock
from shared.ports.databases import Databases

T = TypeVar("T")

FRESH_S: Final = 1.0
"""A measurement this old is still shown. So any number of open pages ask the contexts once a second."""
FRESH_TIMES: Final = 10
"""A measurement that took long is shown for so many times as long."""


class Offload(Protocol):
    """Runs blocking work off the event loop, so that the other pages go on meanwhile."""

    async def __call__(self, work: Callable[[], T], /) -> T:
        """Return the result of the work, or raise its error."""
        ...


async def in_a_thread(work: Callable[[], T], /) -> T:
    """Run the work in a thread: the fold of a long history takes seconds."""
    return await anyio.to_thread.run_sync(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The parts. `nats` spells a command of the nats CLI; `differences` are the lines of `chorus streams plan`.

    `journals` are the contexts that have a database, also those that cannot be loaded.
    """

    settings: Settings
    broker: Broker
    databases: Databases
    clock: Clock
    reader: SagaReader
    journals: tuple[str, ...]
    nats: Callable[..., str]
    differences: Callable[[], Awaitable[Sequence[str]]]
    offload: Offload = in_a_thread
    patience: Patience = field(default_factory=Patience)


class Fresh(Generic[T]):
    """A measurement that is made again when it is too old; those who ask meanwhile wait for the same one."""

    def __init__(self, measure: Callable[[], Awaitable[T]], clock: Clock) -> None:
        self._measure = measure
        self._clock = clock
        self._lock = anyio.Lock()
        self._found: tuple[float, T] | None = None

    async def get(self) -> T:
        """The last measurement, or a new one; raises what measuring raises."""
        async with self._lock:
            now = self._clock.monotonic()
            if self._found is None or now > self._found[0]:
                found = await self._measure()
                measured = self._clock.monotonic()
                self._found = measured + max(FRESH_S, FRESH_TIMES * (measured - now)), found
            return self._found[1]
