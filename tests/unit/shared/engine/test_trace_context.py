"""The header `traceparent`: its form, and the ids that follow from the ids of messages."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.engine.route.tracing import SpanTracing
from shared.wire.trace_context import attempt_span, decision_span, parse_traceparent, publication_span

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


def test_a_traceparent_is_read_and_written_as_w3c_says() -> None:
    found = parse_traceparent(f"00-{TRACE}-{SPAN}-01")
    assert found is not None
    assert (found.trace_id, found.span_id, found.is_sampled) == (TRACE, SPAN, True)
    assert str(found) == f"00-{TRACE}-{SPAN}-01"
    assert str(found.at("00f067aa0ba902b7")) == f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize(("flags", "is_sampled"), [("00", False), ("01", True), ("02", False), ("03", True)])
def test_the_last_bit_of_the_flags_says_whether_it_is_sampled(flags: str, is_sampled: bool) -> None:
    found = parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}")
    assert found is not None
    assert found.is_sampled is is_sampled


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"01-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-01\n",
    ],
)
def test_another_form_is_no_traceparent(text: str) -> None:
    assert parse_traceparent(text) is None


def test_the_spans_of_one_message_differ_and_never_change() -> None:
    event = "ordering/order-o-42@1"
    spans = [
        publication_span(event),
        decision_span("payments", event),
        decision_span("inventory", event),
        attempt_span(event, 1),
        attempt_span(event, 2),
    ]
    assert len(set(spans)) == len(spans)
    assert publication_span(event) == "c1ff109e3245fd10"


class StoppedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


class Nowhere:
    """Takes no span."""

    def add(self, spans: object) -> None:
        raise AssertionError(spans)


def test_traces_begin_at_a_rate_and_an_idle_second_is_not_saved_up() -> None:
    clock = StoppedClock()
    tracing = SpanTracing("ordering", Nowhere(), clock, traces_per_s=2)

    def begun(commands: int) -> int:
        return sum(1 for number in range(commands) if tracing.begin(f"m-{number}"))

    assert begun(10) == 2
    clock.seconds = 0.5
    assert begun(10) == 1
    clock.seconds = 60.0
    assert begun(10) == 2
    first = parse_traceparent(SpanTracing("ordering", Nowhere(), clock, traces_per_s=1).begin("m-1"))
    assert first is not None
    assert (first.is_sampled, first.span_id) == (True, decision_span("ordering", "m-1"))
