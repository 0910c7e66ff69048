"""What the engine asks of a clock. It is virtual in simulations."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the time is and how to wait; virtual in simulations."""

    def now(self) -> datetime:
        """Aware, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never jump."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as an aware UTC time, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)
