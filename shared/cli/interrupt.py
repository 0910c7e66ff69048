"""Runs a command until it ends or Ctrl-C cancels it.

Before Python 3.12, `asyncio.wait_for` may lose the `cancel()` that comes together with its result, and nats-py waits
with it. So a scope is cancelled here, which anyio does again and again until the work has ended.
"""

import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio.abc import TaskStatus

T = TypeVar("T")


def run_until_interrupted(work: Callable[[], Awaitable[T]]) -> T:
    """Run to the end, or until SIGINT; then raises KeyboardInterrupt."""
    results: list[T] = []
    errors: list[Exception] = []

    async def run() -> None:
        async with anyio.create_task_group() as tasks:
            await tasks.start(_cancel_on_interrupt, tasks.cancel_scope)
            try:
                results.append(await work())
            except Exception as error:  # Out of the group, which would wrap it.
                errors.append(error)
            tasks.cancel_scope.cancel()

    anyio.run(run)
    for error in errors:
        raise error
    if not results:
        raise KeyboardInterrupt
    return results[0]


async def _cancel_on_interrupt(scope: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            scope.cancel()
            return
