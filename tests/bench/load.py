"""The clients of a measurement, in a process of their own: so many commands, in one of three manners.

`python -m tests.bench.load FILE` does what the file says and leaves beside it when each command was sent.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import anyio
import msgspec
from msgspec import Struct

from shared.adapters.jetstream import JetStream, connect
from shared.ports.broker import Outgoing
from shared.run.die_with_parent import die_with_parent
from shared.run.system import own_environment
from shared.wire.messages import MSG_ID, command_subject
from tests.bench.stage import Count, Stage
from tests.guarded import as_tests

AT_ONCE = 128
"""Publishes that wait for their PubAck side by side; the server syncs each, so more would only queue."""
WINDOW_POLL_S = 0.05
WITHIN_S = 1800.0
SKUS = tuple(f"sku-{number}" for number in range(50))
PRICE = {"amount_minor": 250, "currency": "EUR"}
NOTE = "x" * 200


class Load(Struct, frozen=True, kw_only=True):
    """Commands number `first` and following. At most one of `per_s` (an open loop) and `open_at_most` is set.

    With `open_at_most` a command is sent only while fewer sagas than that have begun and not ended.
    """

    kind: Literal["sagas", "orders"]
    count: int
    first: int = 0
    per_s: float = 0.0
    open_at_most: int = 0


class Sent(Struct, frozen=True, kw_only=True):
    """When each command was sent, by its key, and how late the latest one was against the open loop's plan."""

    at_ns: dict[str, int]
    late_ms: float


async def send(place: Stage, load: Load) -> Sent:
    """Run a process that sends this load; returns when all of it is stored."""
    file = place.directory / f"load-{load.kind}-{load.first}.json"
    file.write_bytes(msgspec.json.encode(load))
    environment = own_environment(os.environ, url=place.url, data_dir=place.directory)
    with anyio.fail_after(WITHIN_S):
        await anyio.run_process(
            die_with_parent([sys.executable, "-m", "tests.bench.load", str(file)]),
            stdout=None,
            stderr=None,
            env=environment,
        )
    return msgspec.json.decode(file.with_suffix(".sent").read_bytes(), type=Sent)


def order(number: int) -> dict[str, Any]:
    """One to three lines; 1,000 customers, each with an account of their own."""
    customer = number % 1000
    lines = [{"sku": SKUS[(number * 7 + line * 11) % 50], "quantity": 1 + line} for line in range(1 + number % 3)]
    return {
        "customer_id": f"c-{customer}",
        "email": f"c-{customer}@chorus.example",
        "lines": [{**line, "unit_price": PRICE} for line in lines],
        "address": {"street": f"Lane {number}", "city": "Leipzig", "country": "DE", "postal_code": "04109"},
        "method_token": f"tok_ok_{customer}",
    }


def saga(_: int) -> dict[str, Any]:
    """A body of the size of a small event."""
    return {"note": NOTE}


class Kind(NamedTuple):
    """Which command begins a saga and which event is its first and its last; keys are `letter` and a number."""

    context: str
    command: str
    letter: str
    body: Callable[[int], dict[str, Any]]
    begins_with: str
    ends_with: str


KINDS: Mapping[str, Kind] = {
    "sagas": Kind("alpha", "Begin", "s", saga, "evt.alpha.AlphaPassed.*.*", "evt.alpha.AlphaEnded.*.*"),
    "orders": Kind(
        "ordering", "PlaceOrder", "o", order, "evt.ordering.OrderPlaced.*.*", "evt.shipping.OrderShipped.*.*"
    ),
}


class Sender:
    """Sends the commands of one load in order."""

    def __init__(self, broker: JetStream, load: Load) -> None:
        kind = KINDS[load.kind]
        encode = msgspec.json.Encoder().encode
        self.at_ns: dict[str, int] = {}
        self._broker = broker
        self._messages = iter(
            [
                (
                    key,
                    Outgoing(
                        command_subject(kind.context, kind.command, key),
                        {MSG_ID: f"bench-{key}"},
                        encode(kind.body(number)),
                    ),
                )
                for number in range(load.first, load.first + load.count)
                for key in (f"{kind.letter}-{number}",)
            ]
        )

    async def one(self) -> None:
        """Send the next command."""
        key, message = next(self._messages)
        self.at_ns[key] = time.time_ns()
        await self._broker.publish(message)

    async def side_by_side(self, count: int) -> None:
        """Send the next `count` commands, AT_ONCE at a time."""
        left = count

        async def some() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                await self.one()

        async with anyio.create_task_group() as tasks:
            for _ in range(min(AT_ONCE, count)):
                tasks.start_soon(some)


async def _open_loop(sender: Sender, count: int, per_s: float) -> float:
    """Send at the planned times, whatever has come of the ones before; the greatest lateness in milliseconds."""
    late_s = 0.0
    began = time.perf_counter()
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            wait_s = began + number / per_s - time.perf_counter()
            if wait_s > 0:
                await anyio.sleep(wait_s)
            late_s = max(late_s, time.perf_counter() - began - number / per_s)
            tasks.start_soon(sender.one)
    return late_s * 1e3


async def _windowed(sender: Sender, load: Load, broker: JetStream) -> None:
    ended = await Count.of(broker, KINDS[load.kind].ends_with)
    before = await ended.now()
    sent = 0
    while sent < load.count:
        still_open = sent - (await ended.now() - before)
        room = min(load.open_at_most - still_open, load.count - sent)
        if room > 0:
            await sender.side_by_side(room)
            sent += room
        else:
            await anyio.sleep(WINDOW_POLL_S)


async def carry_out(load: Load) -> Sent:
    """Send it all."""
    broker = await connect(as_tests(os.environ["NATS_URL"]), name="bench load")
    sender = Sender(broker, load)
    late_ms = 0.0
    if load.per_s:
        late_ms = await _open_loop(sender, load.count, load.per_s)
    elif load.open_at_most:
        await _windowed(sender, load, broker)
    else:
        await sender.side_by_side(load.count)
    await broker.close()
    return Sent(at_ns=sender.at_ns, late_ms=late_ms)


def main(file: Path) -> None:
    """Send the commands as the file says."""
    load = msgspec.json.decode(file.read_bytes(), type=Load)
    sent = anyio.run(carry_out, load, backend_options={"use_uvloop": True})
    file.with_suffix(".sent").write_bytes(msgspec.json.encode(sent))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
