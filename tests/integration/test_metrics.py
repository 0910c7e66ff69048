"""A worker's /metrics counts the work of the engine."""

import urllib.request
from types import SimpleNamespace
from typing import Any, cast

from shared.engine.metrics import serve_metrics
from tests.waiting import WITHIN_S


def engine(**parked: int) -> Any:
    return SimpleNamespace(
        context=SimpleNamespace(name="payments"),
        loop=SimpleNamespace(decided=7, duplicates=1, batches=3, **parked),
        relay=SimpleNamespace(published=5, backlog=2, blocked=SimpleNamespace(reasons={"o-1": "refused"})),
        ownership=SimpleNamespace(owned=[0, 1]),
        effects=SimpleNamespace(backlog=4),
        alarms=SimpleNamespace(raised=[SimpleNamespace(kind="consumer")]),
    )


def test_metrics_are_read_from_the_engine_when_asked() -> None:
    process = engine(parked=0)
    port = serve_metrics(cast(Any, process), "127.0.0.1", 0)
    process.loop.parked = 9
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN_S) as answer:
        said = answer.read().decode()
    assert 'chorus_messages_decided_total{context="payments"} 7.0' in said
    assert 'chorus_parked_messages{context="payments"} 9.0' in said
    assert 'chorus_relay_stuck_keys{context="payments"} 1.0' in said
    assert 'chorus_alarms{context="payments",kind="consumer"} 1.0' in said
    assert 'chorus_alarms{context="payments",kind="broker"} 0.0' in said
    assert 'chorus_partitions_held{context="payments"} 2.0' in said
