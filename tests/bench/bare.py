"""The bare loop to compare with: the same five hops and the same durability, and nothing that Chorus does besides.

`python -m tests.bench.bare alpha` is one of four processes: it takes what was delivered, commits a row for each message
with FULL sync, and publishes them while the next commit runs. No body is decoded, nothing is decided, no duplicate is
looked for; consumers read all partitions at once. The server, the streams and the adapter are Chorus's own.
"""

import os
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream

from shared.adapters.jetstream import JetStream, connect
from shared.derived.topology import Declared
from shared.ports.broker import Delivery, Outgoing, PullEpoch, Status
from shared.wire.messages import MSG_ID
from shared.worker.notify import Notifier
from tests.bench.hop import database_at
from tests.guarded import as_tests

BATCH_AT_MOST = 1_000
ROWS_AT_ONCE = 128
TOGETHER_AT_LEAST = 8
BEAT_S = 1.0


class Batch(NamedTuple):
    """Messages that were committed together, and the replies that acknowledge the commands among them."""

    messages: Sequence[Outgoing]
    commands: Sequence[str]


class Leg(NamedTuple):
    """One step of the bare loop: the filter that it reads, and the subject that it publishes to for each message."""

    stream: str
    reads: str
    publishes: str


LEGS: Mapping[str, tuple[Leg, ...]] = {
    "alpha": (
        Leg("COMMANDS", "cmd.alpha.Begin.*.*", "evt.alpha.AlphaPassed."),
        Leg("EVENTS", "evt.delta.DeltaPassed.*.*", "evt.alpha.AlphaEnded."),
    ),
    "beta": (Leg("EVENTS", "evt.alpha.AlphaPassed.*.*", "evt.beta.BetaPassed."),),
    "gamma": (Leg("EVENTS", "evt.beta.BetaPassed.*.*", "evt.gamma.GammaPassed."),),
    "delta": (Leg("EVENTS", "evt.gamma.GammaPassed.*.*", "evt.delta.DeltaPassed."),),
}


def consumers() -> tuple[Declared, ...]:
    """One for each leg; in its priority group whoever asks is served."""
    return tuple(_consumer(name, leg) for name, legs in LEGS.items() for leg in legs)


def _consumer(name: str, leg: Leg) -> Declared:
    config: dict[str, Any] = {
        "name": f"bare-{name}",
        "durable_name": f"bare-{name}",
        "filter_subjects": [leg.reads],
        "deliver_policy": "all",
        "ack_policy": "none",
        "priority_groups": ["w"],
        "priority_policy": "overflow",
    }
    if leg.stream == "COMMANDS":
        config |= {"ack_policy": "explicit", "max_ack_pending": 10 * BATCH_AT_MOST}
    return Declared(kind="consumer", stream=leg.stream, name=f"bare-{name}", config=config)


class Bare:
    """One process of the bare loop."""

    def __init__(self, name: str, broker: JetStream, database_path: Path) -> None:
        self._name = name
        self._broker = broker
        self._database = database_at(database_path)
        self._buffers: dict[Leg, deque[Delivery]] = {leg: deque() for leg in LEGS[name]}
        self._outstanding = dict.fromkeys(LEGS[name], 0)
        self._pulls: dict[Leg, PullEpoch] = {}
        self._arrived = anyio.Event()
        self._number = 0

    async def run(self) -> None:
        """Until cancelled: take, commit, publish, acknowledge."""
        for leg in self._buffers:
            self._pulls[leg] = await self._open(leg)
        committed, to_publish = anyio.create_memory_object_stream[Batch](1)
        async with anyio.create_task_group() as tasks, committed, to_publish:
            tasks.start_soon(self._publish, to_publish)
            while True:
                self._arrived = anyio.Event()
                await self._ask_for_more()
                batch = [(leg, buffer.popleft()) for leg, buffer in self._buffers.items() for _ in range(len(buffer))]
                if not batch:
                    await self._arrived.wait()
                for first in range(0, len(batch), BATCH_AT_MOST):
                    await committed.send(self._commit(batch[first : first + BATCH_AT_MOST]))

    async def _open(self, leg: Leg) -> PullEpoch:
        def on_delivery(delivery: Delivery, _: str | None) -> None:
            self._outstanding[leg] -= 1
            self._buffers[leg].append(delivery)
            self._arrived.set()

        def on_status(status: Status) -> None:
            assert status.code in (100, 408), status
            if status.code == 408:
                self._outstanding[leg] = 0
                self._arrived.set()

        return await self._broker.begin_epoch(leg.stream, f"bare-{self._name}", on_delivery, on_status)

    async def _ask_for_more(self) -> None:
        for leg, pulls in self._pulls.items():
            if self._outstanding[leg] < BATCH_AT_MOST:
                self._outstanding[leg] += 2 * BATCH_AT_MOST
                await pulls.pull(batch=2 * BATCH_AT_MOST, pin=None, expires_s=60, heartbeat_s=0.5)

    def _commit(self, taken: Sequence[tuple[Leg, Delivery]]) -> Batch:
        messages = [
            Outgoing(leg.publishes + key, {MSG_ID: f"{leg.publishes}{key}"}, delivery.body)
            for leg, delivery in taken
            for key in (delivery.subject.rsplit(".", 1)[1],)
        ]
        execute = self._database.execute
        execute("BEGIN IMMEDIATE")
        for first in range(0, len(messages), ROWS_AT_ONCE):
            some = messages[first : first + ROWS_AT_ONCE]
            rows = [(n, row.headers[MSG_ID], row.subject, row.body) for n, row in enumerate(some, self._number + 1)]
            self._number += len(some)
            values = ", ".join(["(?, ?, ?, ?)"] * len(some))
            execute(f"INSERT INTO journal VALUES {values}", list(chain.from_iterable(rows)))
        for stream, sequence in {leg.stream: delivery.sequence for leg, delivery in taken}.items():
            execute("INSERT OR REPLACE INTO positions VALUES (?, ?)", (stream, sequence))
        execute("COMMIT")
        return Batch(messages, [delivery.reply for leg, delivery in taken if leg.stream == "COMMANDS"])

    async def _publish(self, batches: MemoryObjectReceiveStream[Batch]) -> None:
        async for messages, commands in batches:
            if len(messages) >= TOGETHER_AT_LEAST:
                await self._broker.publish_batch(messages)
            else:
                async with anyio.create_task_group() as tasks:
                    for message in messages:
                        tasks.start_soon(self._broker.publish, message)
            if commands:
                await self._broker.acknowledge(commands)


async def main(name: str) -> None:
    """Run one process of the loop until SIGTERM."""
    directory = Path(os.environ["CHORUS_DATA_DIR"])
    notifier = Notifier.from_environment()
    broker = await connect(as_tests(os.environ["NATS_URL"]), name=f"bare {name}")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(Bare(name, broker, directory / f"{name}.db").run)
        tasks.start_soon(_beat, notifier)
        notifier.ready()
        with anyio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                tasks.cancel_scope.cancel()
    await broker.close()


async def _beat(notifier: Notifier) -> None:
    while True:
        await anyio.sleep(BEAT_S)
        notifier.alive()


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], backend_options={"use_uvloop": True})
