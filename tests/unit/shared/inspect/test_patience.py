"""A context that is frozen is waited for once, and then only briefly, until it answers again."""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import anyio
import pytest

from contexts.sagas import ORDER
from shared.context import Context
from shared.inspect.asking import NoAnswerError
from shared.inspect.lag.partitions import sample
from shared.inspect.patience import ANSWERED_WITHIN_S, PING_EVERY_S, SILENCE_LASTS_S, SILENT_WITHIN_S, Patience
from shared.inspect.sagas.listing import Selection, list_sagas
from shared.inspect.why.evidence import Silence, collect
from shared.ports.broker import Broker, BrokerUnavailableError
from shared.simulation.testing import Simulation, simulation
from tests.browsing import Visit
from tests.unit.shopping import fill_shelves, order

T = TypeVar("T")

PARTITIONS = 4
PAGE_WITHIN_S = 0.2
AGGREGATES = {"payments": "payment", "ordering": "order"}


class Frozen:
    """A broker beside which the processes of `names` are connected and do not answer."""

    def __init__(self, broker: Broker, *names: str) -> None:
        self._broker = broker
        self.names = set(names)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def request(
        self, subject: str, body: bytes, headers: Mapping[str, str], timeout_s: float
    ) -> tuple[Mapping[str, str], bytes]:
        if self.names & {*subject.split(".")}:
            await anyio.sleep(timeout_s)
            raise BrokerUnavailableError("nats: timeout")
        return await self._broker.request(subject, body, headers, timeout_s)


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulation]:
    with simulation() as running:
        fill_shelves(running)
        running.send(order(), key="o-1", message_id="m-1")
        running.run_until_quiet()
        yield running


def frozen(shop: Simulation, *names: str) -> Any:
    return Frozen(shop._broker, *names)


def timed(shop: Simulation, work: Callable[[], Awaitable[T]]) -> tuple[float, T]:
    """How long something takes in virtual time, and its result."""

    async def run() -> tuple[float, T]:
        begun = anyio.current_time()
        result = await work()
        return anyio.current_time() - begun, result

    return shop.run(run())


def contexts(shop: Simulation) -> list[Context]:
    return [*shop._world.members.values()]


def test_frozen_context_is_waited_for_in_full_once(shop: Simulation) -> None:
    broker, patience = frozen(shop, "payments"), Patience()

    def measure() -> float:
        took, found = timed(shop, lambda: sample(broker, contexts(shop), PARTITIONS, patience=patience))
        assert len(found) == len(contexts(shop)) * PARTITIONS
        return took

    assert measure() == pytest.approx(ANSWERED_WITHIN_S)
    assert measure() == pytest.approx(SILENT_WITHIN_S)
    shop.run(anyio.sleep(SILENCE_LASTS_S))
    assert measure() == pytest.approx(ANSWERED_WITHIN_S)


def test_context_that_answers_again_is_waited_for_as_before(shop: Simulation) -> None:
    broker, patience = frozen(shop, "payments"), Patience()

    def ask() -> bool:
        _, evidence = timed(
            shop, lambda: collect(broker, contexts(shop), "o-1", PARTITIONS, shop.now, patience=patience)
        )
        return isinstance(evidence.answers["payments"], Silence)

    assert ask()
    broker.names.clear()
    assert not ask()
    broker.names.add("payments")
    took, _ = timed(shop, lambda: collect(broker, contexts(shop), "o-1", PARTITIONS, shop.now, patience=patience))
    assert took >= ANSWERED_WITHIN_S


def test_context_that_has_died_is_not_waited_for() -> None:
    with simulation(at_work=("ordering", "payments")) as shop:
        shop.kill("payments")
        took, found = timed(shop, lambda: sample(shop._broker, contexts(shop), PARTITIONS, patience=Patience()))
    assert took < SILENT_WITHIN_S
    assert not getattr(found["payments", 0], "runs", True)


@pytest.mark.parametrize("name", ["payments", "ordering"])
def test_list_waits_for_no_frozen_context_in_full(shop: Simulation, name: str) -> None:
    """A list may take seconds; a ping tells at once whether anybody is there to make it."""

    async def ls() -> tuple[str, ...]:
        try:
            return (await list_sagas(frozen(shop, name), ORDER, contexts(shop), Selection(), shop.now)).silent
        except NoAnswerError as error:
            return (error.context,)

    took, silent = timed(shop, ls)
    assert silent == (name,)
    assert took < 2 * ANSWERED_WITHIN_S


@pytest.mark.parametrize("name", ["payments", "ordering"])
def test_page_waits_for_no_context_that_a_ping_has_found_frozen(shop: Simulation, name: str) -> None:
    """ordering leads the sagas, so the overview and the list ask it twice."""
    visit = Visit(shop)
    visit.console.sources = replace(visit.console.sources, broker=frozen(shop, name))

    async def load(path: str) -> float:
        with anyio.move_on_after(PING_EVERY_S):
            await visit.console.keep_pinging()
        begun = anyio.current_time()
        page = await visit.browser.get(path, part=True)
        assert name in page.text
        return anyio.current_time() - begun

    for path in ("/", "/contexts", "/saga/o-1", "/sagas", f"/aggregates?kind={name}/{AGGREGATES[name]}"):
        took = shop.run(load(path))
        assert (path, took < PAGE_WITHIN_S) == (path, True), took
