"""The beginning and the end of every kind of process: a database that is busy, and a signal or a lost connection."""

import signal
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

import anyio
import structlog

from shared.ports.clock import Clock
from shared.ports.store import DatabaseBusyError

DATABASE_RETRY_S: Final = 0.5

T = TypeVar("T")

_log = structlog.get_logger("chorus.worker")


class Stoppable(Protocol):
    """Something that ends its current work and takes no more."""

    def stop(self) -> None:
        """Take no new work."""
        ...


async def once_free(open_: Callable[[], Awaitable[T]], clock: Clock) -> T:
    """Open a database, and wait for it while `chorus rebuild` or another process has it locked."""
    waiting = False
    while True:
        try:
            return await open_()
        except DatabaseBusyError as error:
            if not waiting:
                remedy = "nothing, if chorus rebuild is under way; else end the process that has it open, or free space"
                _log.warning("database busy, waiting for it", reason=str(error), remedy=remedy)
            waiting = True
            await clock.sleep(DATABASE_RETRY_S)


async def stop_on_signal_or_disconnect(closed: anyio.Event, work: Stoppable) -> None:
    """Stop the work on a signal, or when the client has closed the connection for good."""
    async with anyio.create_task_group() as tasks:

        async def disconnected() -> None:
            await closed.wait()
            _log.error("broker connection closed for good")
            work.stop()

        tasks.start_soon(disconnected)
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                _log.info("stopping", signal=signal.Signals(number).name)
                work.stop()
