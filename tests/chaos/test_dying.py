"""Processes are killed at every named place, stopped and continued, and told to end (R1, R6, R16, F19)."""

import asyncio
import random
import signal
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import get_args

import anyio
import pytest

from shared.engine.failpoints import Failpoint
from tests.chaos.order_mix import check_endings, place_one_of_each
from tests.chaos.stage import Stage
from tests.e2e.ended import Ended
from tests.e2e.shop import MEMBERS
from tests.sagas import SHIPPED

pytestmark = pytest.mark.asyncio(loop_scope="session")

Places = Mapping[str, Sequence[Failpoint]]

CALLING = ("payments", "shipping", "notifications")
"""The contexts that call the outside."""
OF_CALLS: tuple[Failpoint, ...] = ("before-call", "after-call")
HEARING: tuple[Failpoint, ...] = ("after-take", "after-load", "inside-transaction", "after-commit")
"""Where support can die: these orders have no case for it, so it hears of them and says nothing."""
READING: tuple[Failpoint, ...] = ("after-take", "inside-transaction", "after-commit")
"""Where the read side can die."""
EVERYWHERE: Places = {
    context: [place for place in get_args(Failpoint) if context in CALLING or place not in OF_CALLS]
    for context in MEMBERS
    if context not in ("support", "insights")
} | {"support": HEARING, "insights": READING}
ALONE: Places = {
    "ordering": ("inside-transaction", "after-ack"),
    "inventory": ("after-load", "after-commit"),
    "payments": ("after-call", "before-publish"),
    "shipping": ("after-take", "before-call"),
    "notifications": ("after-call",),
    "bank": ("after-commit", "after-ack"),
    "support": ("inside-transaction",),
    "insights": ("inside-transaction",),
}
SHARED: Places = {
    "ordering": ("after-commit",),
    "inventory": ("inside-transaction",),
    "payments": ("after-call", "after-ack"),
    "shipping": ("before-publish",),
    "notifications": ("inside-transaction",),
    "bank": ("inside-transaction",),
    "support": ("after-commit",),
}
"""Where to die in every run: every place once, and every context."""

MOMENTS = ("OrderPlaced", "InventoryReserved", "AuthorizationRequested", "NotificationQueued")
"""When every context has work in flight, or is about to."""

WAVES_AT_MOST = 60
WAVES = 3
FENCED_WITHIN_S = 5.0
"""How long a process that continues is watched before the next wave."""


class Slot:
    """A worker that dies at one place after the other, and is started again after each."""

    def __init__(self, stage: Stage, name: str, places: Iterator[str]) -> None:
        self.name = name
        self.died: list[str] = []
        self._stage = stage
        self._places = places

    async def run(self) -> None:
        """Die at every place."""
        for place in self._places:
            await self._stage.arm(self.name, place)
            await self._stage.dies(self.name)
            self.died.append(place)


async def die_everywhere(
    stage: Stage, ended: Ended, name: str, places: Places, *, copies: int, chance: random.Random, at_most: int
) -> None:
    """Place waves of orders while every context dies at all its places, and assert that every order ends well."""
    await stage.stock(name, 10_000)
    await stage.kill(*MEMBERS)
    armed: list[str] = []
    slots: list[Slot] = []
    async with asyncio.TaskGroup() as keeping:
        kept: list[asyncio.Task[None]] = []
        for context, of_context in places.items():
            described = [f"{place}:{chance.randint(1, at_most)}" for place in of_context]
            armed += [f"{context} {place}" for place in described]
            following = iter(described)
            of_this = [Slot(stage, context if n == 1 else f"{context}.{n}", following) for n in range(1, copies + 1)]
            kept.append(keeping.create_task(_keep(stage, of_this)))
            slots += of_this
        for wave in range(WAVES_AT_MOST):
            await check_endings(ended, await place_one_of_each(stage, f"{name}{wave}", name))
            if all(task.done() for task in kept):
                break
    died = [f"{slot.name.partition('.')[0]} {place}" for slot in slots for place in slot.died]
    assert sorted(died) == sorted(armed)
    await stage.check_at_rest()


async def _keep(stage: Stage, slots: Iterable[Slot]) -> None:
    """Let the processes of one context die in turns, the last one alone, and then live together."""
    await asyncio.gather(*(slot.run() for slot in slots))
    await stage.start_all(*(slot.name for slot in slots))


class TestKilled:
    """With -9, and started again."""

    async def test_one_process_a_context_dies_wherever_it_can(
        self, stage: Stage, ended: Ended, chance: random.Random
    ) -> None:
        """F19: every named place kills one context at least."""
        assert {place for places in ALONE.values() for place in places} == set(get_args(Failpoint))
        await die_everywhere(stage, ended, "alone", ALONE, copies=1, chance=chance, at_most=2)

    @pytest.mark.long
    async def test_two_processes_a_context_die_in_turns(
        self, stage: Stage, ended: Ended, chance: random.Random
    ) -> None:
        await die_everywhere(stage, ended, "shared", SHARED, copies=2, chance=chance, at_most=2)

    async def test_two_processes_a_context_live_throughout_while_each_of_them_dies_once(
        self, stage: Stage, ended: Ended, chance: random.Random
    ) -> None:
        """The other process takes the partitions over, and gives them back when it dies itself."""
        await stage.stock("pairs", 1_000)
        await stage.start_all(*(f"{context}.2" for context in MEMBERS))
        pairs = {context: chance.sample((context, f"{context}.2"), 2) for context in MEMBERS}

        async def die(wave: int, name: str) -> None:
            await stage.until(f"o-pairs{wave}-shipped", chance.choice(MOMENTS))
            await stage.kill(name)
            await stage.start(name)

        for wave in range(2):
            async with asyncio.TaskGroup() as tasks:
                placed = tasks.create_task(place_one_of_each(stage, f"pairs{wave}", "pairs"))
                for pair in pairs.values():
                    tasks.create_task(die(wave, pair[wave]))
            await check_endings(ended, placed.result())
        assert all(stage.workers[name].running for pair in pairs.values() for name in pair)
        await stage.check_at_rest()

    @pytest.mark.long
    @pytest.mark.timeout(1_200)
    @pytest.mark.parametrize("copies", [1, 2])
    async def test_every_context_dies_at_every_place(
        self, stage: Stage, ended: Ended, chance: random.Random, copies: int
    ) -> None:
        name = f"everywhere{copies}"
        await die_everywhere(stage, ended, name, EVERYWHERE, copies=copies, chance=chance, at_most=4)


class TestStopped:
    """With SIGSTOP, and with SIGTERM."""

    @pytest.mark.parametrize("context", ["payments", pytest.param("inventory", marks=pytest.mark.long)])
    async def test_process_that_was_stopped_beyond_its_pin_commits_nothing(
        self, stage: Stage, ended: Ended, context: str
    ) -> None:
        """When it continues, another process has decided the messages that were delivered to it.

        Where a busy machine delivers them after the pin has expired, the other process gets them and is stopped next.
        """
        sku = f"zombie-{context}"
        await stage.stock(sku, 10_000)
        await stage.start(f"{context}.2")
        for wave in range(WAVES_AT_MOST):
            name = (context, f"{context}.2")[wave % 2]
            if await self.is_fenced_after_a_stop(stage, ended, name, [f"o-{sku}-{wave}-{n}" for n in range(12)], sku):
                break
        else:
            raise AssertionError(f"no process of {context} was fenced in {WAVES_AT_MOST} waves")
        await stage.check_at_rest()

    @staticmethod
    async def is_fenced_after_a_stop(stage: Stage, ended: Ended, name: str, orders: Sequence[str], sku: str) -> bool:
        """Stop a process until the other one has decided these orders; whether it then finds itself fenced."""
        before = len(stage.log(name))
        stage.signal(name, signal.SIGSTOP)
        await asyncio.gather(*(stage.place(order, sku, quickly=True) for order in orders))
        await asyncio.gather(*(ended.check(order, SHIPPED) for order in orders))
        stage.signal(name, signal.SIGCONT)
        with anyio.move_on_after(FENCED_WITHIN_S):
            await stage.logs(name, "fenced", after=before)
            return True
        return False

    async def test_process_told_to_end_at_any_moment_ends_well(
        self, stage: Stage, ended: Ended, chance: random.Random
    ) -> None:
        """Every context, each between two messages of its busiest time."""
        await stage.stock("told", 1_000)

        async def end(context: str) -> None:
            order = f"o-told{chance.randrange(WAVES)}-shipped"
            await stage.until(order, chance.choice(MOMENTS))
            assert await stage.stop(context) == 0
            await stage.start(context)

        async with asyncio.TaskGroup() as tasks:
            waves = [tasks.create_task(place_one_of_each(stage, f"told{wave}", "told")) for wave in range(WAVES)]
            for context in MEMBERS:
                tasks.create_task(end(context))
        for wave in waves:
            await check_endings(ended, wave.result())
        await stage.check_at_rest()

    @pytest.mark.long  # tests/e2e/test_workers.py does so in every run.
    async def test_process_told_to_end_while_the_server_is_away_ends_well(self, stage: Stage) -> None:
        await stage.crash_the_server()
        codes = await asyncio.gather(*(stage.stop(context) for context in MEMBERS))
        await stage.start_the_server()
        assert codes == [0] * len(MEMBERS)
        await stage.be_whole()
        await stage.check_at_rest()
