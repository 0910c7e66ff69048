"""A partition on a broker whose answers the test gives."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.engine.intake.partition import VACANCY_POLL_S, Partition
from shared.ports.broker import BrokerUnavailableError
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
