"""Pages read databases off the event loop, so that a long history holds up no other page."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.reader import SqliteReader
from shared.console.sources import in_a_thread
from shared.simulation.testing import simulation
from tests.browsing import Visit
from tests.unit.shopping import fill_shelves, order

T = TypeVar("T")


class Offload:
    """Notes whether work runs off the event loop."""

    def __init__(self) -> None:
        self.is_running = False

    async def __call__(self, work: Callable[[], T], /) -> T:
        self.is_running = True
        try:
            return work()
        finally:
            self.is_running = False


class ReadOffLoop(SqliteDatabases):
    """Databases that may be read off the event loop only."""

    offload: Offload

    @contextmanager
    def reading(self, context: str) -> Iterator[SqliteReader]:
        assert self.offload.is_running, f"the database of {context} is read on the event loop"
        with super().reading(context) as reader:
            yield reader


@pytest.fixture(scope="module")
def visit() -> Iterator[Visit]:
    with simulation(seed=1) as running:
        fill_shelves(running)
        running.send(order(), key="o-1")
        running.run_until_quiet()
        visit = Visit(running)
        databases = ReadOffLoop(running.directory)
        databases.offload = Offload()
        visit.console.sources = replace(visit.console.sources, databases=databases, offload=databases.offload)
        yield visit


@pytest.mark.parametrize("path", ["/aggregate/ordering/order-o-1", "/aggregate/ordering/order-o-1?at=2", "/parked"])
def test_a_page_reads_databases_off_the_event_loop(visit: Visit, path: str) -> None:
    assert visit.part(path).status == 200


async def test_offloaded_work_runs_in_another_thread() -> None:
    assert await in_a_thread(threading.get_ident) != threading.get_ident()
