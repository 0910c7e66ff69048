"""Open pages hear that there are news, however many events there are, and a slow page holds up nothing."""

from collections.abc import AsyncIterator, Iterator
from typing import cast

import anyio
import pytest

from shared.console.live import (
    EVENTS_AT_MOST,
    LISTENERS_AT_MOST,
    PAUSE_S,
    QUIET_AT_MOST_S,
    Listener,
    Pulse,
    Tail,
    TooManyListenersError,
)
from shared.console.sources import FRESH_S, FRESH_TIMES, Fresh
from shared.ports.broker import Broker, BrokerUnavailableError, Outgoing, Stored
from shared.simulation.testing import simulation
from shared.wire.messages import CAUSATION_ID, MSG_ID
from tests.browsing import Visit

SECONDS = 10


@pytest.fixture
def visit() -> Iterator[Visit]:
    with simulation(seed=1, at_work=()) as running:
        yield Visit(running)


def store(visit: Visit, count: int, key: str = "o-1") -> None:
    """Store events as fast as clients can."""
    stream = visit.running.server.stream("EVENTS")
    for _ in range(count):
        message_id = f"flood-{stream.info().last_sequence}"
        stream.store(Outgoing(f"evt.ordering.OrderPlaced.{key}", {MSG_ID: message_id}, b"{}"))


def heard(visit: Visit, *keys: str, per_s: int = 0) -> list[list[Pulse]]:
    """The news that a page about each key gets within SECONDS, while this many events a second come under o-1."""
    console = visit.console
    clock = console.sources.clock
    found: list[list[Pulse]] = [[] for _ in keys]

    async def listen(number: int, key: str) -> None:
        async for pulse in console.tail.news(key):
            found[number].append(pulse)

    async def all_of_them() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(console.tail.run)
            for number, key in enumerate(keys):
                tasks.start_soon(listen, number, key)
            for _ in range(10 * SECONDS):
                await clock.sleep(0.1)
                store(visit, per_s // 10)
            tasks.cancel_scope.cancel()

    visit.running.run(all_of_them())
    return found


def test_a_thousand_events_a_second_are_one_piece_of_news_a_second(visit: Visit) -> None:
    (news,) = heard(visit, "", per_s=1000)
    assert SECONDS / PAUSE_S - 2 <= len(news) <= SECONDS / PAUSE_S + 1
    assert 900 <= news[-1].per_s <= 1100
    assert news[-1].left_out == 0


def test_page_about_a_saga_hears_of_its_own_events_only(visit: Visit) -> None:
    own, other = heard(visit, "o-1", "o-2", per_s=10)
    assert len(own) >= SECONDS / PAUSE_S - 2
    assert len(other) <= SECONDS / QUIET_AT_MOST_S + 1


def test_page_hears_something_now_and_then_without_events(visit: Visit) -> None:
    (news,) = heard(visit, "")
    assert len(news) == SECONDS / QUIET_AT_MOST_S


def test_tail_that_is_far_behind_leaves_events_out_and_says_how_many(visit: Visit) -> None:
    tail, running = visit.console.tail, visit.running
    running.run(tail.advance())
    listener = Listener("o-2")
    tail._listeners.add(listener)
    store(visit, EVENTS_AT_MOST + 5)
    running.run(tail.advance())
    assert tail.pulse.left_out == 5
    assert tail.pulse.events["ordering.OrderPlaced"] == EVENTS_AT_MOST
    assert running.run(listener.wait(0))  # It may have been among those left out.


def test_events_before_the_console_started_count_nothing(visit: Visit) -> None:
    store(visit, 3)
    visit.running.run(visit.console.tail.advance())
    assert visit.console.tail.pulse.events == {}


def test_stream_that_was_made_anew_is_followed_from_its_end(visit: Visit) -> None:
    tail = visit.console.tail
    store(visit, 3)
    visit.running.run(tail.advance())
    tail._next = 1000
    visit.running.run(tail.advance())
    store(visit, 1)
    visit.running.run(tail.advance())
    assert tail.pulse.events == {"ordering.OrderPlaced": 1.0}


class GoesAway:
    """The part of a broker that a tail uses; it goes away once, after two messages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._is_away = True
        self.stream_info = broker.stream_info

    async def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        async for stored in self._broker.read(stream, subject, first=first, up_to=up_to):
            yield stored
            if self._is_away and stored.sequence == first + 1:
                self._is_away = False
                raise BrokerUnavailableError("it went away")


def test_an_event_counts_once_when_the_broker_goes_away_in_the_middle(visit: Visit) -> None:
    sources = visit.console.sources
    tail = Tail(cast("Broker", GoesAway(sources.broker)), sources.clock, ())
    visit.running.run(tail.advance())
    stream = visit.running.server.stream("EVENTS")
    for number in range(3):
        headers = {MSG_ID: f"ordering/order-o-1@{number}", CAUSATION_ID: f"ordering/order-o-1@{number - 1}"}
        stream.store(Outgoing("evt.ordering.OrderPlaced.o-1", headers, b"{}"))
    with pytest.raises(BrokerUnavailableError):
        visit.running.run(tail.advance())
    visit.running.run(tail.advance())
    assert tail.pulse.events == {"ordering.OrderPlaced": 3.0}
    assert [edge.per_s for edge in tail.pulse.edges] == [2.0]


def test_number_of_open_pages_is_bounded_and_a_closed_page_makes_room(visit: Visit) -> None:
    tail = visit.console.tail

    async def fill() -> None:
        pages = [tail.news() for _ in range(LISTENERS_AT_MOST)]
        for page in pages:
            await anext(page)
        with pytest.raises(TooManyListenersError):
            tail.news()
        await pages[0].aclose()  # type: ignore[attr-defined]
        await anext(tail.news())

    visit.running.run(fill())


@pytest.mark.parametrize(("took_s", "stands_s"), [(0.0, FRESH_S), (3.0, 3.0 * FRESH_TIMES)])
def test_measurement_stands_for_a_second_or_for_many_times_as_long_as_it_took(
    visit: Visit, took_s: float, stands_s: float
) -> None:
    clock = visit.console.sources.clock
    measured: list[float] = []

    async def measure() -> int:
        await clock.sleep(took_s)
        measured.append(clock.monotonic())
        return len(measured)

    async def look() -> None:
        fresh = Fresh(measure, clock)
        assert await fresh.get() == 1
        await clock.sleep(stands_s - 0.1)
        assert await fresh.get() == 1
        await clock.sleep(0.2)
        assert await fresh.get() == 2

    visit.running.run(look())


def test_contexts_are_asked_once_for_all_who_look_at_the_same_time(visit: Visit) -> None:
    reports: list[object] = []

    async def look() -> None:
        reports.append(await visit.console.lags.get())

    async def all_of_them() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(look)

    visit.running.run(all_of_them())
    assert len(reports) == 100
    assert len({id(report) for report in reports}) == 1
