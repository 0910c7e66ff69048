"""Serves the metrics of a worker to Prometheus. A scrape reads the engine's counters; docs/metrics.md lists them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import accumulate

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.engine.monitor.alarms import KINDS
from shared.engine.process import ContextProcess, MisconfiguredError
from shared.ports.clock import moment
from shared.wire.lag import BUCKETS_S, Timing


class EngineCollector(Collector):
    """The figures of one process, as of the moment of a scrape."""

    def __init__(self, process: ContextProcess) -> None:
        self._process = process

    def collect(self) -> Iterator[Metric]:
        """Every metric, with `context` as its first label."""
        yield from self._counts()
        yield from self._gauges()
        yield self._alarms()
        yield from self._behind()
        yield from self._times()

    def _counts(self) -> Iterator[Metric]:
        counters = self._process.loop.counters
        yield self._counter("chorus_messages_decided", "messages decided", counters.decided)
        yield self._counter("chorus_messages_duplicate", "messages that dedup found again", counters.duplicates)
        yield self._counter("chorus_messages_strange", "messages their context did not publish", counters.strangers)
        yield self._counter("chorus_batches", "transactions committed", counters.batches)
        yield self._counter("chorus_batches_fenced", "transactions that lost to another process", counters.fenced)
        yield self._counter("chorus_messages_published", "journal rows published", self._process.relay.published)

    def _gauges(self) -> Iterator[Metric]:
        process = self._process
        blocked = process.relay.blocked.reasons
        yield self._gauge("chorus_partitions_owned", "partitions this process decides", len(process.ownership.owned))
        yield self._gauge("chorus_relay_backlog", "journal rows not published yet", process.relay.backlog)
        yield self._gauge("chorus_relay_stuck_keys", "keys whose next row the broker refuses", len(blocked))
        yield self._gauge("chorus_calls_open", "calls to the outside without an outcome", process.effects.backlog)
        parked = process.loop.counters.parked
        yield self._gauge("chorus_parked_messages", "messages that wait because their key is parked", parked)

    def _alarms(self) -> Metric:
        alarms = GaugeMetricFamily("chorus_alarms", "alarms raised now", labels=["context", "kind"])
        raised = Counter(alarm.kind for alarm in self._process.alarms.raised)
        for kind in KINDS:
            alarms.add_metric([self._name, kind], raised[kind])
        return alarms

    def _behind(self) -> Iterator[Metric]:
        labels = ["context", "partition", "stream"]
        messages = GaugeMetricFamily(
            "chorus_behind_messages", "messages delivered or waiting, not decided", labels=labels
        )
        seconds = GaugeMetricFamily("chorus_behind_seconds", "age of the oldest of these messages", labels=labels)
        for partition in tuple(self._process.ownership.partitions.values()):
            if not partition.is_owned:
                continue
            for reader in partition.readers.values():
                values = [self._name, str(partition.number), reader.stream]
                oldest, newest = reader.oldest, reader.newest
                waiting = 0 if newest is None else reader.buffered + newest.pending
                messages.add_metric(values, waiting)
                age = 0.0 if oldest is None else (datetime.now().astimezone() - moment(oldest.at_ns)).total_seconds()
                seconds.add_metric(values, max(0.0, age))
        yield messages
        yield seconds

    def _times(self) -> Iterator[Metric]:
        process, counters = self._process, self._process.loop.counters
        yield self._histogram("chorus_commit_seconds", "duration of a transaction", {"": counters.commit_times.so_far})
        yield self._histogram(
            "chorus_publish_seconds", "duration of a publish", {"": process.relay.publish_times.so_far}
        )
        reactions = {kind: times.so_far for kind, times in tuple(counters.reaction_times.by_type.items())}
        yield self._histogram("chorus_reaction_seconds", "from a message's storage to its decision", reactions, "type")
        calls = {event: times.so_far for event, times in process.effects.call_times.items()}
        yield self._histogram("chorus_call_seconds", "from a call's first attempt to its outcome", calls, "event")

    @property
    def _name(self) -> str:
        return self._process.context.name

    def _counter(self, metric: str, meaning: str, value: int) -> Metric:
        family = CounterMetricFamily(metric, meaning, labels=["context"])
        family.add_metric([self._name], value)
        return family

    def _gauge(self, metric: str, meaning: str, value: int) -> Metric:
        family = GaugeMetricFamily(metric, meaning, labels=["context"])
        family.add_metric([self._name], value)
        return family

    def _histogram(self, metric: str, meaning: str, timings: Mapping[str, Timing], label: str = "") -> Metric:
        family = HistogramMetricFamily(metric, meaning, labels=["context", *filter(None, [label])], unit="seconds")
        for value, timing in timings.items():
            bounds = [*(str(bound) for bound in BUCKETS_S), "+Inf"]
            buckets = list(zip(bounds, accumulate(timing.counts), strict=True))
            family.add_metric([self._name, *filter(None, [value])], buckets, timing.sum_s)
        return family


def serve_metrics(process: ContextProcess, host: str, port: int) -> int:
    """Answer `/metrics` for a context; see `serve_collector`."""
    return serve_collector(EngineCollector(process), host, port)


def serve_collector(collector: Collector, host: str, port: int) -> int:
    """Answer `/metrics` from a thread of its own, and return its port; port 0 takes a free one.

    Raises:
        MisconfiguredError: another process has the port, or the host is not one of this machine.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise MisconfiguredError(
            f"/metrics cannot be served on {host}:{port}: {error.strerror}; set CHORUS_METRICS_PORT or"
            " CHORUS_METRICS_HOST to another one"
        ) from error
    return server.server_port
