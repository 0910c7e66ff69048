"""Plays the demo without a server: the whole system runs in this process and in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.adapters.virtual_time import VirtualLoop
from shared.simulation.demo import QUIET, Demo, Stage
from shared.simulation.world import World

READY_WITHIN = timedelta(minutes=1)


@asynccontextmanager
async def stage_in_memory(demo: Demo, directory: Path, loop: VirtualLoop) -> AsyncIterator[Stage]:
    """Run a system with the demo's own settings; `loop` must be running."""
    environ = {**QUIET, **demo.settings, "CHORUS_DATA_DIR": str(directory)}
    world = World(catalog.read_settings(environ), loop)
    try:
        for name in catalog.names():
            world.start(name)
        await world.until_quiet(READY_WITHIN)
        yield Stage(MemoryBroker(world.server), partial(_away, world), "memory")
    finally:
        await world.close()


@asynccontextmanager
async def _away(world: World, name: str) -> AsyncIterator[None]:
    await world.stop(name)
    yield
    world.start(name)
