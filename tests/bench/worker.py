"""One worker of the chain, or one of the shop's under a profiler: `python -m tests.bench.worker NAME [PROFILE]`."""

import cProfile
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

from shared import catalog
from shared.access.login import login
from shared.config.connection import find_connection
from shared.config.settings import Settings
from shared.context import Member
from shared.worker.main import run_member
from tests.bench import chain

DATABASE_THREAD = "database"
LOOP_THREAD = "loop"


def run(name: str) -> int:
    """Run the worker until SIGTERM; its exit code."""
    settings = catalog.read_settings(os.environ)

    async def worker() -> int:
        connection = login(find_connection(os.environ), name, settings.seeds)
        member, _, group = name.partition("-")  # As in insights-projection.
        load = partial(_load, member, settings)
        return await run_member(member, load, settings=settings, connection=connection, group=group or None)

    return anyio.run(worker, backend_options={"use_uvloop": True})


def _load(name: str, settings: Settings) -> Member:
    ring = {context.name: context for context in chain.contexts()}
    return ring[name] if name in ring else catalog.load_member(name, settings)


@contextmanager
def profiled(path: Path) -> Iterator[None]:
    """Leave `path.loop` and `path.database`: cProfile sees one thread, so each has a profile of its own.

    The clock is the thread's CPU time, so that waiting for the disk, the server or the interpreter does not count.
    """
    of_threads: list[cProfile.Profile] = []

    def begin(_frame: FrameType, _event: str, _argument: Any) -> None:
        profile = cProfile.Profile(time.thread_time)
        of_threads.append(profile)
        profile.enable()

    hook: Callable[[FrameType, str, Any], None] = begin
    threading.setprofile(hook)
    loop = cProfile.Profile(time.thread_time)
    loop.enable()
    try:
        yield
    finally:
        loop.disable()
        loop.dump_stats(f"{path}.{LOOP_THREAD}")
        busiest = max(of_threads, key=_seconds, default=None)
        if busiest is not None:
            busiest.dump_stats(f"{path}.{DATABASE_THREAD}")


def _seconds(profile: cProfile.Profile) -> float:
    return sum(entry.inlinetime for entry in profile.getstats())


def main(name: str, profile: str | None = None) -> int:
    """Run, and profile when there is somewhere to leave it."""
    if profile is None:
        return run(name)
    with profiled(Path(profile)):
        return run(name)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
