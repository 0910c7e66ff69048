"""A partition on a broker whose answers the test gives."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.engine.intake.partition import NOTICE, VACANCY_POLL_S, Partition
from shared.ports.broker import BrokerUnavailableError, Delivery
from shared.wire.streams import COMMANDS, TIMERS


class Epoch:
    """Pulls nothing."""

    async def pull(self, **_: object) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("is_answered", [True, False])
async def test_owner_stays_known_while_the_broker_is_asked_again(*, is_answered: bool) -> None:
    """A process that reads no partition answers requests only while it knows the owner of each."""
    now, known = 1000.0, []

    async def begin_epoch(*_: object) -> Epoch:
        return Epoch()

    async def consumer_info(*_: object) -> SimpleNamespace:
        known.append(partition.has_known_owner)
        if len(known) == 2 and not is_answered:
            raise BrokerUnavailableError("no answer")
        return SimpleNamespace(pinned=True)

    broker: Any = SimpleNamespace(begin_epoch=begin_epoch, consumer_info=consumer_info, reconnects=0)
    clock: Any = SimpleNamespace(monotonic=lambda: now)
    troubles: Any = SimpleNamespace(failed=lambda *_: None, succeeded=lambda *_: None)
    partition = Partition(
        0, 1, "till", (TIMERS, COMMANDS), broker, clock, priority_timeout_s=60, wake=lambda: None, troubles=troubles
    )
    await partition.keep_alive()
    now += VACANCY_POLL_S + 0.1
    await partition.keep_alive()
    assert known == [False, True]
    assert partition.has_known_owner is is_answered


@pytest.mark.parametrize("at_most", [9, 1])
async def test_notice_that_obtained_the_pin_is_acknowledged_and_not_decided(at_most: int) -> None:
    """Otherwise each takeover would commit a batch in which there is nothing to decide."""
    acknowledged: list[str] = []
    woken: list[bool] = []
    deliver: dict[str, Any] = {}

    async def begin_epoch(stream: str, _: str, on_delivery: object, __: object) -> Epoch:
        deliver[stream] = on_delivery
        return Epoch()

    async def acknowledge(replies: list[str]) -> None:
        acknowledged.extend(replies)
        raise BrokerUnavailableError("the server is away")

    async def reset(*_: object) -> None:
        pass

    broker: Any = SimpleNamespace(begin_epoch=begin_epoch, acknowledge=acknowledge, reset=reset, reconnects=0)
    clock: Any = SimpleNamespace(monotonic=lambda: 1000.0)
    troubles: Any = SimpleNamespace(succeeded=lambda *_: None)
    partition = Partition(
        0,
        1,
        "till",
        (TIMERS,),
        broker,
        clock,
        priority_timeout_s=60,
        wake=lambda: woken.append(True),
        troubles=troubles,
    )
    await partition.begin_reading()
    for number, subject in enumerate([f"due.till.{NOTICE}.0.0", "due.till.Overdue.0.t-1"], 1):
        delivery = Delivery(
            sequence=number,
            at_ns=0,
            subject=subject,
            headers={},
            body=b"",
            consumer_sequence=number,
            reply=f"reply-{number}",
        )
        deliver[TIMERS](delivery, "pin")
    woken.clear()
    taken = await partition.take(TIMERS, at_most)
    assert bool(woken) is not bool(taken)  # The loop does not wait while the timer is in the buffer.
    taken += await partition.take(TIMERS, at_most)
    assert [delivery.subject for delivery in taken] == ["due.till.Overdue.0.t-1"]
    assert acknowledged == ["reply-1"]
    assert partition.taken == 1
