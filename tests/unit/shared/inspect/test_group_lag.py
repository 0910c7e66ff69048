"""The groups of the read side say how far they are: to `chorus lag`, to `chorus why`, and to the console."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from shared.inspect.lag.groups import GroupOf, compare_groups
from shared.inspect.lag.meter import LagMeter
from shared.inspect.lag.partitions import Report
from shared.inspect.saga_reader import SagaReader
from shared.inspect.why.evidence import Evidence, collect
from shared.inspect.why.lines import facts
from shared.ports.broker import Broker
from shared.simulation.testing import Simulation, simulation
from shared.wire.lag import Forwarding, GroupLag
from tests.browsing import console_of
from tests.unit.shopping import fill_shelves, order

PROJECTION = GroupOf("insights", "projection")


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(with_read_sides=True) as running:
        fill_shelves(running)
        running.run_until_quiet()
        yield running


def reader(shop: Simulation) -> SagaReader:
    return console_of(shop).sources.reader


def meter_of(shop: Simulation) -> LagMeter:
    found = reader(shop)
    return LagMeter(found.contexts, found.sides, found.partitions)


def measured(shop: Simulation, meter: LagMeter) -> Report:
    return shop.run(meter.measure(shop._broker))


class Behind:
    """A broker beside which the groups have folded nothing yet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    async def request(self, subject: str, *more: Any) -> tuple[Mapping[str, str], bytes]:
        headers, body = await self._broker.request(subject, *more)
        if ".lag-" not in subject:
            return headers, body
        answer = msgspec.json.decode(body, type=GroupLag)
        return headers, msgspec.json.encode(replace(answer, sequence=0, behind=7))


def evidence(shop: Simulation, key: str, broker: Any = None) -> Evidence:
    found = reader(shop)
    return shop.run(collect(broker or shop._broker, found.contexts, key, found.partitions, shop.now, sides=found.sides))


def test_group_says_how_far_it_is_and_how_fast_it_folds(shop: Simulation) -> None:
    meter = meter_of(shop)
    measured(shop, meter)
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    report = measured(shop, meter)
    projection = next(one for one in report.groups if (one.context, one.group) == PROJECTION)
    assert {one.group for one in report.groups} == {"projection", "analytics"}
    assert (projection.behind, projection.set_aside, projection.oldest_s) == (0, 0, 0.0)
    assert projection.per_s > 0
    assert report.is_owned
    answer = msgspec.json.decode(shop.request("api.insights.lag-projection", b"{}"), type=GroupLag)
    assert (answer.context, answer.group) == PROJECTION
    assert answer.sequence == projection.sequence
    assert answer.last_at


def test_group_without_a_process_is_named_with_the_events_that_wait_for_it(shop: Simulation) -> None:
    shop.kill("insights")
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    report = measured(shop, meter_of(shop))
    for group in report.groups:
        assert (group.process, group.runs, group.sequence) == ("", False, None)
    projection = next(one for one in report.groups if one.group == "projection")
    assert projection.behind is not None
    assert projection.behind > 5
    assert not report.is_owned


def test_group_that_forwards_says_what_keeps_its_events(shop: Simulation) -> None:
    answer = msgspec.json.decode(shop.request("api.insights.lag-projection", b"{}"), type=GroupLag)
    assert answer.forwarding is None

    def troubles(**now: Any) -> tuple[str, ...]:
        forwarding = Forwarding(**{"waiting": 0, "parked": 0, "failed": 0, "is_left_alone": False, **now})
        sample = {PROJECTION: replace(answer, forwarding=forwarding)}
        (group,) = shop.run(compare_groups(shop._broker, {}, sample))
        return group.troubles

    assert troubles(waiting=3, failed=9) == ()
    assert troubles(parked=2, waiting=3, is_left_alone=True) == (
        "insights-projection: 2 events cannot be delivered and wait for an operator: chorus parked ls",
        "insights-projection: its endpoint fails and is left alone for a while; 3 events wait",
    )


def test_why_tells_of_each_group_and_calls_none_of_them_trouble(shop: Simulation) -> None:
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    assert facts(evidence(shop, "o-1"))["insights, projection"] == "has folded every event of this key"
    shop.kill("insights")
    found = evidence(shop, "o-1")
    assert facts(found)["insights, projection"] == "does not run; no saga waits for it"
    assert "insights" not in " ".join(cause.text for cause in reader(shop).explain(found).causes)


def test_why_tells_which_events_of_the_key_a_group_has_not_folded(shop: Simulation) -> None:
    shop.send(order(quantity=1000), key="o-1")
    shop.run_until_quiet()
    text = facts(evidence(shop, "o-1", Behind(shop._broker)))["insights, projection"]
    assert text.startswith("it has not come to ordering.OrderPlaced, ordering.OrderCancelled, ")
    assert text.endswith(" yet; 7 behind in EVENTS")


def test_request_that_cannot_be_read_is_refused_with_an_example() -> None:
    with simulation(at_work=("insights",)) as running:
        for body in (b'{"more": 1}', b"x", b"[]"):
            headers, _ = running.run(running._broker.request("api.insights.lag-projection", body, {}, 1.0))
            assert headers["Nats-Service-Error"].startswith("ask like {}: ")
