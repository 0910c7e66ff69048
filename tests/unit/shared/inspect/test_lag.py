"""`chorus lag`: how far each partition is behind, who owns it, and how fast it works."""

from collections.abc import Iterator

import msgspec
import pytest

from shared.context import Context
from shared.inspect.lag.partitions import Lag, Report, compare, sample
from shared.simulation.testing import Simulation, simulation
from shared.wire.lag import PartitionLag, StreamLag, Timing
from shared.wire.messages import partition_of
from tests.unit.shopping import fill_shelves, order

PARTITIONS = 2


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(partitions=PARTITIONS) as running:
        fill_shelves(running)
        yield running


def contexts(shop: Simulation) -> list[Context]:
    return [*shop._world.members.values()]


def report(shop: Simulation, *keys: str) -> Report:
    """The report about the time in which these orders came."""
    before = shop.run(sample(shop._broker, contexts(shop), PARTITIONS))
    for key in keys:
        shop.send(order(), key=key, message_id=f"m-{key}")
    shop.advance(seconds=1)
    after = shop.run(sample(shop._broker, contexts(shop), PARTITIONS))
    return shop.run(compare(shop._broker, contexts(shop), before, after))


def of(found: Report, context: str) -> list[Lag]:
    return [lag for lag in found.lags if lag.context == context]


def test_every_partition_has_its_owner_and_is_not_behind(shop: Simulation) -> None:
    found = report(shop)
    assert len(found.lags) == len(contexts(shop)) * PARTITIONS
    assert all(lag.process and lag.messages == 0 and lag.per_s == 0 for lag in found.lags)
    assert found.skew["ordering"] == 1.0


def test_rates_and_timings_are_those_between_the_samples_and_one_busy_partition_shows(shop: Simulation) -> None:
    keys = [key for key in (f"o-{n}" for n in range(20)) if partition_of(key, PARTITIONS) == 0]
    found = report(shop, *keys)
    busy, idle = of(found, "ordering")
    assert busy.per_s > 0
    assert idle.per_s == 0
    assert found.skew["ordering"] == pytest.approx(2.0)
    assert busy.commit_p50_s is not None
    assert busy.publish_p99_s is not None


def test_context_that_is_down_has_no_owner_and_what_the_server_keeps_for_it(shop: Simulation) -> None:
    shop.kill("payments")
    found = report(shop, "o-1", "o-2", "o-3")
    lags = of(found, "payments")
    assert [(lag.process, lag.runs) for lag in lags] == [("", False)] * PARTITIONS
    assert sum(lag.messages for lag in lags) >= 3


def test_missing_consumer_is_reported_as_unknown(shop: Simulation) -> None:
    shop.kill("payments")
    shop.server.delete_consumer("EVENTS", "payments-0")
    lag, _ = of(report(shop), "payments")
    assert lag.behind["EVENTS"] is None
    assert lag.behind["TIMERS"] == 0


def test_owner_answers_for_its_partitions_alone(shop: Simulation) -> None:
    shop.start("ordering")
    shop.run_until_quiet()
    for number in range(PARTITIONS):
        body = shop.request("api.ordering.lag", msgspec.json.encode({"partition": number}))
        assert msgspec.json.decode(body, type=PartitionLag).partition == number


@pytest.mark.parametrize("body", [b"", b"{}", b'{"partition": -1}', b'{"partition": 0, "more": 1}'])
def test_request_that_cannot_be_read_is_refused_with_an_example(shop: Simulation, body: bytes) -> None:
    headers, _ = shop.run(shop._broker.request("api.ordering.lag", body, {}, 1.0))
    assert headers["Nats-Service-Error"].startswith('ask like {"partition": 0}: ')


def test_process_that_was_replaced_between_the_samples_has_no_rate(shop: Simulation) -> None:
    def answer(process: str, taken: int, at: str) -> PartitionLag:
        return PartitionLag(
            context="ordering",
            partition=0,
            process=process,
            at=at,
            streams=(StreamLag(stream="EVENTS", sequence=7, behind=3, oldest_at="2026-11-21T09:00:00.000000Z"),),
            taken=taken,
            unpublished=0,
            calls=0,
            parked=0,
            batches=1,
            commit=Timing(counts=(0,) * 16, sum_s=0.0),
            publish=Timing(counts=(0,) * 16, sum_s=0.0),
        )

    before = {("ordering", 0): answer("a", 100, "2026-11-21T09:00:01.000000Z")}
    after = {("ordering", 0): answer("b", 4, "2026-11-21T09:00:03.000000Z")}
    (lag,) = shop.run(compare(shop._broker, contexts(shop), before, after)).lags
    assert (lag.per_s, lag.messages, lag.oldest_s) == (0.0, 3, 3.0)
    same = {("ordering", 0): answer("a", 104, "2026-11-21T09:00:03.000000Z")}
    (lag,) = shop.run(compare(shop._broker, contexts(shop), before, same)).lags
    assert lag.per_s == 2.0
