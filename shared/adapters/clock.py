"""The machine's clock."""

import time
from datetime import UTC, datetime

import anyio


class SystemClock:
    """Wall time, monotonic time and real waiting."""

    def now(self) -> datetime:
        """Aware, UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)
