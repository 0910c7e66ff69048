"""A reader on a broker whose answers the test gives."""

import asyncio
from types import SimpleNamespace
from typing import Any

from shared.adapters.clock import SystemClock
from shared.engine.intake.reader import Reader
from shared.ports.broker import Delivery, Status
from shared.wire.streams import EVENTS


class Epoch:
    """Notes what is pulled."""

    def __init__(self) -> None:
        self.pulled: list[int] = []

    async def pull(self, *, batch: int, **_: object) -> None:
        self.pulled.append(batch)

    async def close(self) -> None:
        pass


async def test_reader_that_opens_an_epoch_after_a_gap_may_be_asked_for_more() -> None:
    """The loop asks while the server has not answered yet that the new epoch is open."""
    opening, opened = asyncio.Event(), asyncio.Event()
    epochs, tells = [Epoch(), Epoch()], []

    async def begin_epoch(_stream: str, _consumer: str, on_delivery: Any, on_status: Any) -> Epoch:
        tells.append((on_delivery, on_status))
        if len(tells) == 2:
            opening.set()
            await opened.wait()
        return epochs[len(tells) - 1]

    async def reset(*_: object) -> None:
        pass

    broker: Any = SimpleNamespace(begin_epoch=begin_epoch, reset=reset, reconnects=0)
    reader = Reader(broker, SystemClock(), EVENTS, "till-0", priority_timeout_s=60, wake=lambda: None)
    await reader.read_from(0)
    deliver, tell = tells[0]
    deliver(
        Delivery(sequence=1, consumer_sequence=1, pending=0, at_ns=0, subject="", headers={}, body=b"", reply=""), "p"
    )
    tell(Status(100, "Idle Heartbeat", {"Nats-Last-Consumer": "2"}))
    resuming = asyncio.create_task(reader.keep_alive())
    await opening.wait()
    await reader.ask_for_more()
    opened.set()
    await resuming
    assert epochs[1].pulled
