"""Serves the metrics of a worker to Prometheus. Each request reads the engine's counters, so counting is free."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.engine.monitor.alarms import KINDS

if TYPE_CHECKING:
    from shared.engine.process import ContextProcess


class _Engine(Collector):
    def __init__(self, process: "ContextProcess") -> None:
        self._process = process

    def collect(self) -> Iterator[Metric]:
        """The figures as of now."""
        process, name = self._process, [self._process.context.name]
        counters = {
            "chorus_messages_decided": ("messages decided", process.loop.decided),
            "chorus_messages_duplicate": ("messages that came again and had no effect", process.loop.duplicates),
            "chorus_batches": ("transactions committed", process.loop.batches),
            "chorus_messages_published": ("journal rows the broker has", process.relay.published),
        }
        gauges = {
            "chorus_partitions_held": ("partitions this process decides", len(process.ownership.owned)),
            "chorus_relay_backlog": ("journal rows not published yet", process.relay.backlog),
            "chorus_relay_stuck_keys": ("keys whose next row the broker refuses", len(process.relay.blocked.reasons)),
            "chorus_effects_open": ("outside calls without an outcome", process.effects.backlog),
            "chorus_parked_messages": ("messages that wait because their key is parked", process.loop.parked),
        }
        for metric, (meaning, value) in counters.items():
            counter = CounterMetricFamily(metric, meaning, labels=["context"])
            counter.add_metric(name, value)
            yield counter
        for metric, (meaning, value) in gauges.items():
            gauge = GaugeMetricFamily(metric, meaning, labels=["context"])
            gauge.add_metric(name, value)
            yield gauge
        alarms = GaugeMetricFamily("chorus_alarms", "alarms raised now", labels=["context", "kind"])
        raised = Counter(alarm.kind for alarm in process.alarms.raised)
        for kind in KINDS:
            alarms.add_metric([*name, kind], raised[kind])
        yield alarms


def serve_metrics(process: "ContextProcess", host: str, port: int) -> int:
    """Answer `/metrics` from a thread of its own; the port (0 takes a free one). Raises OSError when it is taken."""
    registry = CollectorRegistry()
    registry.register(_Engine(process))
    server, _ = start_http_server(port, addr=host, registry=registry)
    return server.server_port
