"""Serves the metrics of sagas to Prometheus: how they begin and end, how long they take, and which do not go on.

No context knows a whole saga, so no worker can answer this. `chorus top --metrics-port` watches EVENTS and asks the
contexts; docs/metrics.md lists the metrics.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.context import Context
from shared.inspect.asking import NoAnswerError
from shared.inspect.patience import Patience
from shared.inspect.sagas.listing import Listing, Selection, list_sagas
from shared.inspect.sagas.rates import DURATION_BUCKETS_S, SagaTail
from shared.ports.broker import Broker
from shared.saga import Saga
from shared.wire.listing import PAGE_AT_MOST

STUCK_AND_SLOW = Selection(stuck=True, oldest_first=True, limit=PAGE_AT_MOST)


class SagaCollector(Collector):
    """The figures as of the last `look`. A saga whose leading context did not answer then has no gauges."""

    def __init__(self, tail: SagaTail) -> None:
        self._tail = tail
        self._listings: Mapping[str, Listing] = {}
        self._patience = Patience()

    async def look(self, broker: Broker, sagas: Sequence[Saga], contexts: Sequence[Context], now: datetime) -> None:
        """Read the new events, and ask the contexts what does not go on; raises BrokerError."""
        await self._tail.advance()
        listings = {}
        for saga in sagas:
            try:
                listings[saga.name] = await list_sagas(
                    broker, saga, contexts, STUCK_AND_SLOW, now, patience=self._patience
                )
            except NoAnswerError:
                continue
        self._listings = listings

    def collect(self) -> Iterator[Metric]:
        """Every metric, with `saga` as its first label."""
        begun = CounterMetricFamily("chorus_sagas_begun", "sagas that have begun", labels=["saga"])
        ended = CounterMetricFamily("chorus_sagas_ended", "sagas that have ended", labels=["saga", "end"])
        took = HistogramMetricFamily(
            "chorus_saga_seconds", "from the first event of a saga to its end", labels=["saga", "end"], unit="seconds"
        )
        bounds = [*(str(bound) for bound in DURATION_BUCKETS_S), "+Inf"]
        for rate in self._tail.of_sagas:
            begun.add_metric([rate.saga.name], rate.begun)
            for end, times in tuple(rate.ended.items()):
                ended.add_metric([rate.saga.name, end], times)
            for end, durations in tuple(rate.durations.items()):
                buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
                took.add_metric([rate.saga.name, end], buckets, durations.sum_s)
        yield from (begun, ended, took)
        yield from self._now()

    def _now(self) -> Iterator[Metric]:
        stuck = GaugeMetricFamily("chorus_sagas_stuck", "sagas that something holds up", labels=["saga"])
        slow = GaugeMetricFamily(
            "chorus_sagas_slow", "sagas that are slow, though nothing holds them up", labels=["saga"]
        )
        status = GaugeMetricFamily("chorus_sagas", "sagas by the status of their aggregate", labels=["saga", "status"])
        for saga, listing in self._listings.items():
            stuck.add_metric([saga], sum(1 for one in listing.sagas if one.held_up_by))
            slow.add_metric([saga], sum(1 for one in listing.sagas if not one.held_up_by))
            for name, count in listing.counts.items():
                status.add_metric([saga, name], count)
        yield from (stuck, slow, status)


def serve_sagas(collector: SagaCollector, host: str, port: int) -> int:
    """Answer `/metrics` from a thread of its own; the port (0 takes a free one). Raises OSError when it is taken."""
    registry = CollectorRegistry()
    registry.register(collector)
    server, _ = start_http_server(port, addr=host, registry=registry)
    return server.server_port
