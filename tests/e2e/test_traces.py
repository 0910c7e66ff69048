"""An order is one trace over the processes of all contexts, as an OpenTelemetry collector receives it."""

from collections import Counter
from pathlib import Path

import pytest

from tests.collector import collecting
from tests.e2e.shop import Shop, opened

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]


async def test_an_order_is_one_trace_whose_every_span_has_its_cause_in_it(tmp_path: Path) -> None:
    with collecting() as collector:
        async with opened(Shop, tmp_path, otlp_endpoint=collector.url, traces_per_s="100") as shop:
            await shop.stock("apple", 10)
            await shop.place("o-1", "apple")
            await shop.until("o-1", "ShipmentRecorded")
            await shop.until("o-1", "StockCommitted")
            await shop.until("o-1", "CustomerNotified", times=2)
            published = {fact.id: fact for fact in shop.watcher.about("o-1")}
    (trace_id,) = {span.trace_id for span in collector.spans if span.name == "decide PlaceOrder"}
    spans = {span.span_id: span for span in collector.spans if span.trace_id == trace_id}
    roots = [span.name for span in spans.values() if span.parent_id not in spans]
    assert roots == ["decide PlaceOrder"]
    assert {span.service for span in spans.values()} >= {"ordering", "inventory", "payments", "shipping", "bank"}
    kinds = Counter(span.kind for span in spans.values())
    assert kinds["client"] >= 4  # Two of payments to the bank, one of shipping, one mail.
    traced = {span.attributes["messaging.message.id"]: span for span in spans.values() if span.kind == "producer"}
    assert published.keys() <= traced.keys()
    for message_id, fact in published.items():
        decision = spans[traced[message_id].parent_id]
        assert (decision.service, decision.attributes["messaging.message.id"]) == (fact.context, fact.cause)
    asked = {span.span_id: span for span in spans.values() if span.kind == "client"}
    assert [
        asked[span.parent_id].service for span in spans.values() if span.service == "bank" and span.parent_id in asked
    ]
