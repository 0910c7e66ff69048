"""A saga is one trace: each hop is a short span of its cause, and an OTLP receiver gets them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from structlog.testing import capture_logs

from shared.adapters.clock import SystemClock
from shared.adapters.tracing.broker import TracedBroker
from shared.adapters.tracing.otlp import OtlpSpans
from shared.engine.route.tracing import SpanTracing
from shared.ports.broker import Broker
from shared.ports.spans import Span
from shared.wire.trace_context import TRACEPARENT
from tests.collector import Collector, collecting
from tests.integration.databases import lose, make_anew, state
from tests.integration.engine import Counter, working
from tests.waiting import until

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"
GIVEN = f"00-{TRACE}-{CLIENT}-01"
UNSAMPLED = f"00-{TRACE}-{CLIENT}-00"
AT_ONCE = 512
"""Spans that the SDK sends at once."""
PAST = b'{"closes_at": "2026-01-01T00:00:00Z"}'


@asynccontextmanager
async def traced_till(counter: Counter, collector: Collector, *, traces_per_s: int = 100) -> AsyncIterator[None]:
    """A till that sends its spans; all of them have been sent when the block ends."""
    spans = OtlpSpans("till", endpoint=f"{collector.url}/v1/traces")
    tracing = SpanTracing("till", spans, SystemClock(), traces_per_s=traces_per_s)
    broker = cast(Broker, TracedBroker(counter.broker, spans, SystemClock()))
    async with working(counter, broker=broker, tracing=tracing):
        yield
    spans.close()


async def test_a_trace_of_a_client_goes_on_through_commands_events_timers_and_calls(counter: Counter) -> None:
    with collecting() as collector:
        async with traced_till(counter, collector):
            await counter.publish("cmd.till.CloseAt.t-1", PAST, "m-1", traceparent=GIVEN)
            await counter.watcher.until("t-1", "TillClosed")
            await counter.publish("cmd.till.PrintReceipt.t-2", b'{"text": "thanks at 2"}', "m-2", traceparent=GIVEN)
            await counter.watcher.until("t-2", "ReceiptPrinted")
    assert collector.paths == {"/v1/traces"}
    assert collector.parents(TRACE) == {
        "till: decide CloseAt": CLIENT,
        "till: publish ClosingScheduled": "till: decide CloseAt",
        "till: decide ClosingTime": "till: publish ClosingScheduled",
        "till: publish TillClosed": "till: decide ClosingTime",
        "till: decide PrintReceipt": CLIENT,
        "till: publish ReceiptRequested": "till: decide PrintReceipt",
        "till: call ReceiptRequested": "till: publish ReceiptRequested",
        "till: call ReceiptRequested, attempt 2": "till: publish ReceiptRequested",
        "till: decide ReceiptRequested": "till: publish ReceiptRequested",
        "till: publish ReceiptPrinted": "till: decide ReceiptRequested",
    }
    spans = collector.trace(TRACE)
    assert spans["till: decide CloseAt"].attributes == {
        "messaging.system": "nats",
        "messaging.operation.type": "process",
        "messaging.destination.name": "COMMANDS",
        "messaging.message.id": "m-1",
        "messaging.message.conversation_id": "t-1",
        "chorus.events": "ClosingScheduled",
    }
    assert (spans["till: decide CloseAt"].kind, spans["till: publish TillClosed"].kind) == ("consumer", "producer")
    first, second = spans["till: call ReceiptRequested"], spans["till: call ReceiptRequested, attempt 2"]
    assert (first.kind, first.error, second.error) == ("client", "UnknownOutcomeError: out of paper, or not", "")
    assert all(span.took_ns >= 0 for span in spans.values())


async def test_an_event_of_another_context_brings_its_trace_and_a_duplicate_leaves_no_span(counter: Counter) -> None:
    body = b'{"till_id": "t-1", "amount": 5}'
    with collecting() as collector:
        async with traced_till(counter, collector):
            await counter.scan_body("t-1", body, "scanner/scan-t-1@1", traceparent=GIVEN)
            await counter.scan_body("t-1", body, "scanner/scan-t-1@2")
            rung = await counter.watcher.until("t-1", "Rung", times=2)
            await counter.publish("cmd.till.Ring.t-1", b'{"amount": 6}', "m-6", traceparent=UNSAMPLED)
            await counter.publish("cmd.till.Ring.t-1", b'{"amount": 6}', "m-6", traceparent=GIVEN)
            await counter.watcher.until("t-1", "Rung", times=3)
    assert collector.parents(TRACE) == {
        "till: decide GoodsScanned": CLIENT,
        "till: publish Rung": "till: decide GoodsScanned",
    }
    assert TRACEPARENT not in rung.headers  # An event begins no trace.
    assert {span.trace_id for span in collector.spans} == {TRACE}


async def test_a_command_without_a_trace_begins_one_while_there_are_not_too_many(counter: Counter) -> None:
    with collecting() as collector:
        async with traced_till(counter, collector, traces_per_s=1):
            for number in range(20):
                await counter.ring("t-1", 5, f"m-{number}")
            rung = await counter.watcher.until("t-1", "Rung", times=20)
    began = [span for span in collector.spans if span.parent_id == ""]
    assert 1 <= len(began) < 20
    assert {span.name for span in began} == {"decide Ring"}
    assert len({span.trace_id for span in began}) == len(began)
    (published,) = [
        s.parent_id for s in collector.spans if s.name == "publish Rung" and s.trace_id == began[0].trace_id
    ]
    assert published == began[0].span_id
    assert rung.content["total"] == 100


async def test_a_process_without_traces_hands_them_on_as_they_came(counter: Counter) -> None:
    given = {"m-1": GIVEN, "m-2": UNSAMPLED, "m-3": f"00-{TRACE}-{CLIENT}", "m-4": f"00-{'0' * 32}-{CLIENT}-01"}
    async with working(counter):
        for message_id, traceparent in given.items():
            await counter.publish(f"cmd.till.CloseAt.{message_id}", PAST, message_id, traceparent=traceparent)
        closed = [await counter.watcher.until(message_id, "TillClosed") for message_id in given]
    assert [fact.headers.get(TRACEPARENT) for fact in closed] == [GIVEN, UNSAMPLED, None, None]


async def test_dedup_does_not_look_at_the_trace(counter: Counter) -> None:
    async with working(counter) as process:
        await counter.scan("t-1", 5, "scanner/scan-t-1@1")
        await counter.watcher.until("t-1", "Rung")
        await counter.lose_events()
        body = b'{"till_id": "t-1", "amount": 5}'
        await counter.scan_body("t-1", body, "scanner/scan-t-1@1", traceparent=GIVEN)
        await until(lambda: process.loop.counters.duplicates == 1)
    assert counter.letters.facts == []


async def test_a_rebuilt_database_has_the_traces_of_the_lost_one(counter: Counter) -> None:
    later = b'{"closes_at": "2126-01-01T00:00:00Z"}'
    with collecting() as collector:
        async with traced_till(counter, collector):
            await counter.publish("cmd.till.CloseAt.t-1", later, "m-1", traceparent=GIVEN)
            await counter.watcher.until("t-1", "ClosingScheduled")
            await counter.published()
    known = state(counter)
    assert all(TRACE in headers for (headers,) in counter.rows("SELECT headers FROM journal"))
    await lose(counter, None)
    await make_anew(counter)
    assert state(counter) == known


async def test_a_collector_that_refuses_spans_is_one_line_in_the_log_when_it_begins_and_one_when_it_ends() -> None:
    span = Span(TRACE, CLIENT, "", "decide Ring", "consumer", 1, 2, {})
    with collecting() as collector, capture_logs() as lines:
        spans = OtlpSpans("till", endpoint=f"{collector.url}/v1/traces")
        collector.refuses = True
        for times in (1, 2):
            spans.add([span] * AT_ONCE)
            await until(lambda times=times: collector.requests >= times)  # type: ignore[misc]
        await until(lambda: lines)
        collector.refuses = False
        spans.add([span])
        spans.close()
    assert [line["event"] for line in lines] == [
        "traces are lost: the collector does not take them",
        "the collector takes traces again",
    ]
    assert len(collector.spans) == 1
