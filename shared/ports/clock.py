"""The engine's port to a clock, which is virtual in simulations."""

from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """The wall time, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait this long."""
        ...


def moment(nanoseconds: int) -> datetime:
    """Nanoseconds since 1970 as an aware UTC time, to the microsecond."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1000)


def since_1970_ns(at: datetime) -> int:
    """An aware time as nanoseconds since 1970, to the microsecond."""
    return (at - EPOCH) // timedelta(microseconds=1) * 1000
