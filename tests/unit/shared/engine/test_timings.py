"""Timings are counted in buckets, and any quantile is estimated from them afterwards."""

import pytest

from shared.engine.monitor.timings import Timings
from shared.wire.lag import BUCKETS_S


def test_every_measurement_is_in_one_bucket_and_in_the_sum() -> None:
    timings = Timings()
    for seconds in (0.0, 0.0005, 0.0006, 31.0):
        timings.add(seconds)
    found = timings.so_far
    assert (found.counts[0], found.counts[1], found.counts[-1]) == (2, 1, 1)
    assert found.count == 4
    assert found.sum_s == pytest.approx(31.0011)


@pytest.mark.parametrize(
    ("measured", "part", "found"),
    [
        ([], 0.5, None),
        ([0.003] * 10, 0.5, 0.0035),
        ([0.003] * 10, 1.0, 0.005),
        ([0.0004] * 99 + [0.9], 0.99, 0.0005),
        ([0.0004] * 99 + [0.9], 1.0, 1.0),
        ([100.0], 0.5, BUCKETS_S[-1]),
    ],
)
def test_quantile_lies_in_the_bucket_of_its_measurement(
    measured: list[float], part: float, found: float | None
) -> None:
    timings = Timings()
    for seconds in measured:
        timings.add(seconds)
    quantile = timings.so_far.quantile_s(part)
    assert quantile == (None if found is None else pytest.approx(found))


def test_measurements_since_an_earlier_answer_are_those_after_it() -> None:
    timings = Timings()
    timings.add(5.0)
    before = timings.so_far
    timings.add(0.003)
    recent = timings.so_far.since(before)
    assert recent.count == 1
    assert recent.quantile_s(0.5) == pytest.approx(0.0035)
