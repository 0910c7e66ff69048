"""A wakeup that comes before, during or after the wait."""

import asyncio

import pytest

from shared.engine.wakeup import Wakeup

SOON_S = 0.01
NEVER_S = 30.0


async def test_who_waits_goes_on_when_it_rings() -> None:
    bell = Wakeup()
    asyncio.get_running_loop().call_later(SOON_S, bell.set)
    assert await bell.wait(NEVER_S)


async def test_rung_before_anybody_waits_it_lets_them_go_on_until_it_is_silenced() -> None:
    bell = Wakeup()
    bell.set()
    bell.set()
    assert await bell.wait()
    assert await bell.wait(SOON_S)
    bell.clear()
    assert not await bell.wait(SOON_S)


async def test_who_has_waited_long_enough_goes_on_without_it() -> None:
    bell = Wakeup()
    assert not await bell.wait(SOON_S)
    bell.set()
    assert bell.is_set


async def test_who_is_called_off_leaves_the_bell_as_it_was() -> None:
    bell = Wakeup()
    waiting = asyncio.create_task(bell.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    bell.set()
    assert await bell.wait()
