"""The tasks that make calls: how many there are, and that none is kept waiting."""

import anyio
import pytest

from shared.engine.callers import CALLS_IN_A_ROW, Callers
from tests.waiting import until

WITHIN_S = 10.0


class _Calls:
    """Calls that wait for `may_end`."""

    def __init__(self) -> None:
        self.at_once = self.most_at_once = 0
        self.made: list[str] = []
        self.may_end = anyio.Event()

    async def make(self, key: str) -> None:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.may_end.wait()
        self.at_once -= 1
        self.made.append(key)


@pytest.mark.parametrize("at_once", [1, 3])
async def test_at_most_at_once_calls_run_and_all_in_their_turn(at_once: int) -> None:
    calls = _Calls()
    callers = Callers(at_once, calls.make)
    keys = [f"k-{number}" for number in range(10)]
    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            for key in keys:
                callers.add(key, tasks)
            await until(lambda: calls.at_once == at_once)
            calls.may_end.set()
            await until(lambda: len(calls.made) == len(keys))
            callers.add("later", tasks)  # Every task rests by now.
            await until(lambda: len(calls.made) == len(keys) + 1)
            tasks.cancel_scope.cancel()
    assert calls.made == [*keys, "later"]
    assert calls.most_at_once == at_once


async def test_calls_that_never_wait_let_other_tasks_run() -> None:
    made = 0
    made_when_another_ran: list[int] = []

    async def make(_key: str) -> None:
        nonlocal made
        made += 1

    async def another() -> None:
        made_when_another_ran.append(made)

    callers = Callers(1, make)
    calls = 10 * CALLS_IN_A_ROW
    with anyio.fail_after(WITHIN_S):
        async with anyio.create_task_group() as tasks:
            for number in range(calls):
                callers.add(f"k-{number}", tasks)
            tasks.start_soon(another)
            await until(lambda: made == calls)
            tasks.cancel_scope.cancel()
    assert made_when_another_ran[0] <= 2 * CALLS_IN_A_ROW
