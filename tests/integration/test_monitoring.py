"""`nats server check consumer` alerts on a till by the thresholds that streams.yaml gives its consumers.

natscli 0.4.0 reads `io.nats.monitor.…` of a stream, but not of a consumer, whatever its help says: only `nats audit`
does. So the thresholds are flags here, as the README has them.
"""

import os
import subprocess

import anyio
import pytest

from shared.derived.topology import declare
from shared.wire.messages import partition_of
from shared.wire.streams import COMMANDS, EVENTS, READ, TIMERS
from tests.e2e.shop import NATS_CLI
from tests.integration.engine import PARTITIONS, TOPOLOGY, Counter, running
from tests.integration.till import till
from tests.waiting import WITHIN_S

OK, CRITICAL = 0, 2
KEY = "t-1"
PARTITION = partition_of(KEY, PARTITIONS)
CONSUMERS = [(stream, partition) for stream in READ for partition in range(PARTITIONS)]
MONITOR = "io.nats.monitor."


def thresholds(stream: str) -> list[str]:
    """The flags of the nats command for the metadata of a till's consumer."""
    (consumer,) = (d for d in declare(TOPOLOGY, [till()]) if (d.stream, d.name) == (stream, "till-0"))
    known = {name.removeprefix(MONITOR): value for name, value in consumer.config["metadata"].items()}
    pinned = ["--pinned"] if known.get("pinned") == "true" else []
    return [*pinned, *(f"--{name}={value}" for name, value in known.items() if name.endswith("-critical"))]


THRESHOLDS = {stream: thresholds(stream) for stream in READ}


@pytest.fixture(autouse=True)
def nats_cli() -> None:
    """Where the `nats` command is required, its absence is a failure."""
    if NATS_CLI is None:
        assert os.environ.get("CHORUS_REQUIRE_NATS_CLI") != "1", "there is no nats command on the PATH"
        pytest.skip("there is no nats command on the PATH; .ci/run builds it")


async def checked(counter: Counter, stream: str, partition: int, *, expected: int) -> None:
    """Wait until the stock command ends like this."""
    assert NATS_CLI is not None
    which = ["--stream", stream, "--consumer", f"till-{partition}", *THRESHOLDS[stream]]
    said = None
    with anyio.move_on_after(WITHIN_S):
        while said is None or said.returncode != expected:
            said = await anyio.run_process(
                [NATS_CLI, "--server", counter.url, "server", "check", "consumer", *which],
                check=False,
                stderr=subprocess.STDOUT,
            )
        return
    raise AssertionError(f"{stream} till-{partition}: {said.stdout.decode() if said else 'no answer'}")


async def test_an_idle_till_is_ok_on_every_stream_before_and_after_its_first_message(counter: Counter) -> None:
    for work in range(2):
        async with running(counter):
            for stream, partition in CONSUMERS:
                await checked(counter, stream, partition, expected=OK)
            await counter.ring(KEY, 5)
            await counter.watcher.until(KEY, "Rung", times=work + 1)
            for stream, partition in CONSUMERS:
                await checked(counter, stream, partition, expected=OK)


async def test_a_dead_till_is_critical_where_it_is_idle_and_where_messages_wait(counter: Counter) -> None:
    async with running(counter):
        await counter.ring(KEY, 5)
        await counter.watcher.until(KEY, "Rung")
    for partition in range(PARTITIONS):
        await checked(counter, TIMERS, partition, expected=CRITICAL)
    await counter.ring(KEY, 6)
    await counter.scan(KEY, 7, "scanner/scan-t-1@1")
    for stream in (COMMANDS, EVENTS):
        await checked(counter, stream, PARTITION, expected=CRITICAL)
    async with running(counter):
        await counter.watcher.until(KEY, "Rung", times=3)
        for stream, partition in CONSUMERS:
            await checked(counter, stream, partition, expected=OK)
