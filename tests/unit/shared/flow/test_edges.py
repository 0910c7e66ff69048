"""Edges between events are counted for a minute, with the time from cause to effect, in bounded memory."""

from datetime import UTC, datetime, timedelta

from shared.flow.rates.edges import CAUSES_AT_MOST, EDGES_AT_MOST, EdgeRate, Edges

NINE = datetime(2026, 11, 21, 9, tzinfo=UTC)


def at(milliseconds: float) -> datetime:
    return NINE + timedelta(milliseconds=milliseconds)


def test_edge_has_a_rate_and_durations() -> None:
    edges = Edges()
    for number in range(10):
        edges.add(f"a/x-{number}@1", "", "a.Asked", at(0))
        edges.add(f"b/y-{number}@1", f"a/x-{number}@1", "b.Answered", at(10 * number))
    (edge,) = edges.rates(at(1000), 5.0)
    assert edge == EdgeRate(cause="a.Asked", event="b.Answered", per_s=2.0, p50_s=0.05, p99_s=0.09)


def test_cause_is_named_without_its_edition() -> None:
    edges = Edges()
    edges.add("a/x-1@1.2", "", "a.Asked", at(0))
    edges.add("b/y-1@1", "a/x-1@1", "b.Answered", at(10))
    assert [edge.p50_s for edge in edges.rates(at(20), 1.0)] == [0.01]


def test_edge_is_forgotten_after_a_minute() -> None:
    edges = Edges()
    edges.add("a/x-1@1", "", "a.Asked", at(0))
    edges.add("b/y-1@1", "a/x-1@1", "b.Answered", at(10))
    assert len(edges.rates(at(59_000), 1.0)) == 1
    assert edges.rates(at(61_000), 1.0) == ()


def test_cause_that_was_never_seen_makes_no_edge() -> None:
    edges = Edges()
    edges.add("b/y-1@1", "a/x-1@1", "b.Answered", at(10))
    assert edges.rates(at(20), 1.0) == ()


def test_memory_is_bounded_and_the_rate_is_of_the_time_that_is_kept() -> None:
    edges = Edges()
    edges.add("a/x@1", "", "a.Asked", at(0))
    for number in range(EDGES_AT_MOST + 1):
        edges.add(f"b/y-{number % 7}@1", "a/x@1", "b.Answered", at(number / 10))
    (edge,) = edges.rates(at(2000), 60.0)
    assert 9_000 <= edge.per_s <= 11_000
    for number in range(CAUSES_AT_MOST):
        edges.add(f"c/z-{number}@1", "", "c.Done", at(2000))
    before = edges.rates(at(2001), 60.0)
    edges.add("b/late@1", "a/x@1", "b.Answered", at(2001))
    assert edges.rates(at(2001), 60.0) == before
