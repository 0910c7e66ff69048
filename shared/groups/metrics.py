"""The metrics of the groups of a read side; docs/metrics.md lists them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from shared.engine.monitor.alarms import KINDS, Alarms
from shared.groups.process import GroupProcess

LABELS = ("context", "group")


class GroupCollector(Collector):
    """The figures of the groups that run in one process, as of the moment of a scrape."""

    def __init__(self, context: str, processes: Sequence[GroupProcess], alarms: Alarms) -> None:
        self._context = context
        self._processes = processes
        self._alarms = alarms

    def collect(self) -> Iterator[Metric]:
        """Every metric, with `context` as its first label."""
        folded = CounterMetricFamily("chorus_group_folded", "events folded", labels=LABELS)
        aside = CounterMetricFamily("chorus_group_set_aside", "events that could not be folded", labels=LABELS)
        sequence = GaugeMetricFamily("chorus_group_sequence", "last sequence of EVENTS that is known", labels=LABELS)
        behind = GaugeMetricFamily("chorus_group_behind_messages", "events delivered or waiting", labels=LABELS)
        for process in tuple(self._processes):
            values = (self._context, process.group)
            folded.add_metric(values, process.folded)
            aside.add_metric(values, process.set_aside)
            sequence.add_metric(values, process.progress.up_to)
            behind.add_metric(values, process.reading.behind)
        yield from (folded, aside, sequence, behind)
        yield from self._of_forwarding()
        alarms = GaugeMetricFamily("chorus_alarms", "alarms raised now", labels=["context", "kind"])
        raised = Counter(alarm.kind for alarm in self._alarms.raised)
        for kind in KINDS:
            alarms.add_metric([self._context, kind], raised[kind])
        yield alarms

    def _of_forwarding(self) -> Iterator[Metric]:
        """The figures of the groups that forward events."""
        delivered = CounterMetricFamily("chorus_group_forwarded", "events delivered to the endpoint", labels=LABELS)
        failed = CounterMetricFamily("chorus_group_forward_failures", "attempts at it that failed", labels=LABELS)
        waiting = GaugeMetricFamily("chorus_group_forward_waiting", "events in memory, on their way", labels=LABELS)
        parked = GaugeMetricFamily("chorus_group_forward_parked", "events that wait for an operator", labels=LABELS)
        circuit = GaugeMetricFamily("chorus_group_circuit_open", "1 while the endpoint is left alone", labels=LABELS)
        for process in self._processes:
            if not process.forwarder.is_needed:
                continue
            values, forwarder = (self._context, process.group), process.forwarder
            delivered.add_metric(values, forwarder.delivered)
            failed.add_metric(values, forwarder.failed)
            waiting.add_metric(values, forwarder.waiting)
            parked.add_metric(values, forwarder.parked)
            circuit.add_metric(values, int(forwarder.breaker.is_open))
        yield from (delivered, failed, waiting, parked, circuit)
