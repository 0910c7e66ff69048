"""Ctrl-C ends a command that goes on, also when the cancellation is lost once."""

import os
import signal

import anyio
import anyio.lowlevel
import pytest

from shared.cli.interrupt import run_until_interrupted


def test_work_that_ends_gives_its_result() -> None:
    async def work() -> int:
        await anyio.lowlevel.checkpoint()
        return 7

    assert run_until_interrupted(work) == 7


def test_interrupt_ends_work_that_loses_the_first_cancellation() -> None:
    lost = 0

    async def work() -> None:
        nonlocal lost
        os.kill(os.getpid(), signal.SIGINT)
        while True:
            try:
                await anyio.sleep(60)
            except anyio.get_cancelled_exc_class():
                lost += 1
                if lost > 1:
                    raise

    with pytest.raises(KeyboardInterrupt):
        run_until_interrupted(work)
    assert lost == 2


def test_exception_of_the_work_is_raised_as_it_is() -> None:
    async def work() -> None:
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        run_until_interrupted(work)
