"""The system clock."""

import time
from datetime import UTC, datetime

import anyio


class SystemClock:
    """The Clock port on the system's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
