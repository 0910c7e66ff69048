"""The metrics are read from the engine when they are scraped, and docs/metrics.md lists them."""

import os
import re
import socket
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contexts.sagas import SAGAS
from shared.config.exit_codes import Exit
from shared.engine.metrics import EngineCollector, serve_metrics
from shared.engine.monitor.counters import Counters
from shared.engine.monitor.timings import Timings
from shared.engine.process import MisconfiguredError
from shared.groups.metrics import GroupCollector
from shared.run.system import own_environment
from tests.integration.engine import Counter, until_idle, working
from tests.processes import spawn
from tests.waiting import WITHIN_S, until

DOCS = Path(__file__).parents[2] / "docs/metrics.md"


def scraped(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """The samples by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN_S) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in families
            for sample in family.samples
        }


def labels(**said: str) -> frozenset[tuple[str, str]]:
    return frozenset({"context": "payments", **said}.items())


def engine() -> Any:
    counters = Counters()
    counters.decided, counters.duplicates, counters.batches, counters.fenced = 7, 1, 3, 2
    counters.commit_times.add(0.003)
    publish, call = Timings(), Timings()
    call.add(40.0)
    return SimpleNamespace(
        context=SimpleNamespace(name="payments"),
        loop=SimpleNamespace(counters=counters),
        relay=SimpleNamespace(
            published=5, backlog=2, blocked=SimpleNamespace(reasons={"o-1": "refused"}), publish_times=publish
        ),
        ownership=SimpleNamespace(owned=[0, 1], partitions={}),
        effects=SimpleNamespace(backlog=4, call_times={"CaptureRequested": call}),
        alarms=SimpleNamespace(raised=[SimpleNamespace(kind="consumer")]),
    )


def test_metrics_are_read_from_the_engine_when_asked() -> None:
    process = engine()
    port = serve_metrics(cast(Any, process), "127.0.0.1", 0)
    process.loop.counters.parked = 9
    said = scraped(port)
    assert said["chorus_messages_decided_total", labels()] == 7
    assert said["chorus_batches_fenced_total", labels()] == 2
    assert said["chorus_parked_messages", labels()] == 9
    assert said["chorus_relay_stuck_keys", labels()] == 1
    assert said["chorus_alarms", labels(kind="consumer")] == 1
    assert said["chorus_alarms", labels(kind="broker")] == 0
    assert said["chorus_partitions_owned", labels()] == 2


def test_port_that_is_taken_is_named_with_the_setting_to_change() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(MisconfiguredError, match=rf"127\.0\.0\.1:{port}: .*set CHORUS_METRICS_PORT"):
            serve_metrics(cast(Any, engine()), "127.0.0.1", port)


def test_histograms_count_each_measurement_in_its_bucket_and_all_above() -> None:
    said = scraped(serve_metrics(cast(Any, engine()), "127.0.0.1", 0))
    assert said["chorus_commit_seconds_bucket", labels(le="0.002")] == 0
    assert said["chorus_commit_seconds_bucket", labels(le="0.005")] == 1
    assert said["chorus_commit_seconds_count", labels()] == 1
    assert said["chorus_commit_seconds_sum", labels()] == pytest.approx(0.003)
    assert said["chorus_publish_seconds_count", labels()] == 0
    assert said["chorus_call_seconds_bucket", labels(le="30.0", event="CaptureRequested")] == 0
    assert said["chorus_call_seconds_bucket", labels(le="+Inf", event="CaptureRequested")] == 1


def test_the_docs_list_every_metric_with_its_type_and_its_labels() -> None:
    of_workers, _, _ = DOCS.read_text().partition("\n## Metrics of sagas\n")
    rows = re.findall(r"^\| `(chorus_\w+)` \| (\w+) \|([^|]*)\|", of_workers, re.MULTILINE)
    said = {name: (kind, {*re.findall(r"`(\w+)`", further)}) for name, kind, further in rows}
    process = engine()
    process.loop.counters.reaction_times.by_type["OrderPlaced"] = Timings()
    reader = SimpleNamespace(stream="EVENTS", oldest=None, newest=None)
    process.ownership.partitions = {0: SimpleNamespace(number=0, is_owned=True, readers={"EVENTS": reader})}
    breaker = SimpleNamespace(is_open=False)
    group: Any = SimpleNamespace(
        group="there",
        progress=SimpleNamespace(up_to=1, folded=1, set_aside=0),
        reading=SimpleNamespace(behind=0),
        forwarder=SimpleNamespace(is_needed=True, delivered=1, failed=0, waiting=0, parked=0, breaker=breaker),
    )
    found = {
        metric.name: (metric.type, {name for sample in metric.samples for name in sample.labels} - {"context", "le"})
        for metric in (*EngineCollector(process).collect(), *GroupCollector("here", [group], process.alarms).collect())
    }
    assert said == found


async def test_running_engine_measures_its_reactions_and_how_far_it_is_behind(counter: Counter) -> None:
    async with working(counter) as process:
        for number in range(5):
            await counter.ring(f"t-{number}", 5)
        await until_idle(counter)
        said = scraped(serve_metrics(process, "127.0.0.1", 0))
    name = ("context", "till")
    assert said["chorus_reaction_seconds_count", frozenset({name, ("type", "Ring")})] == 5
    assert said["chorus_behind_messages", frozenset({name, ("partition", "0"), ("stream", "COMMANDS")})] == 0
    assert said["chorus_behind_seconds", frozenset({name, ("partition", "0"), ("stream", "EVENTS")})] == 0
    assert said["chorus_commit_seconds_count", frozenset({name})] >= 1
    assert said["chorus_publish_seconds_count", frozenset({name})] >= 1


async def test_top_serves_the_metrics_of_sagas_and_names_a_port_that_is_taken(counter: Counter, tmp_path: Path) -> None:
    environ = own_environment(os.environ, url=counter.url, data_dir=tmp_path)
    top = await spawn("top", ("shared.cli", "top", "--metrics-port", "0"), environ, tmp_path / "top.log")
    try:
        await until(lambda: "/metrics" in top.tail or not top.running)
        (port,) = re.findall(r"^metrics of sagas on http://127\.0\.0\.1:(\d+)/metrics$", top.tail, re.MULTILINE)
        samples = scraped(int(port))
        again = await spawn("top", ("shared.cli", "top", "--metrics-port", port), environ, tmp_path / "again.log")
        assert await again.ended() == Exit.MISCONFIGURED
    finally:
        await top.kill()
    begun = {dict(pairs)["saga"] for name, pairs in samples if name == "chorus_sagas_begun_total"}
    assert begun == {saga.name for saga in SAGAS}
    assert again.tail == f"chorus: port {port}: Address already in use; choose another one"
