"""Tells the supervisor, the health file and the watchdog once a second that this process lives."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import anyio
import msgspec
import structlog

from shared.engine.monitor.alarms import Alarms
from shared.ports.clock import moment
from shared.wire.messages import OCCURRED_AT
from shared.wire.streams import TIMERS
from shared.worker.health_file import HealthFile, Report, State
from shared.worker.notify import Notifier
from shared.worker.watchdog import Watchdog

if TYPE_CHECKING:
    from shared.engine.process import ContextProcess

BEAT_S: Final = 1.0
HUNG_AFTER_S: Final = 5.0
"""After a round of this length the pulse stops reporting the process as alive."""

ALARMS_AT_MOST: Final = 100
"""A report names at most this many alarms, so that a reader reads all of it. Alarms about one key come last."""

_log = structlog.get_logger("chorus.pulse")


class Pulse:
    """The pulse of one process. A worker sets `process` when it has one; the groups of a read side have `alarms`."""

    def __init__(
        self, context: str, notifier: Notifier, file: HealthFile, watchdog: Watchdog, *, beat_s: float = BEAT_S
    ) -> None:
        self.process: ContextProcess | None = None
        self.alarms: Alarms | None = None
        self.stalled_s: Callable[[], float] = _not_stalled
        """Seconds since the loop last finished a round; a context measures its own."""
        self._context = context
        self._notifier = notifier
        self._file = file
        self._watchdog = watchdog
        self._beat_s = beat_s
        self._state: State = "starting"
        self._started_at = datetime.now(UTC)
        self._file_failed = False
        self._oldest: tuple[int, datetime] | None = None
        """The journal number of the oldest unpublished row, and the time of the first beat that saw it."""

    async def run(self) -> None:
        """Beat until cancelled, then remove the health file."""
        self._watchdog.start()
        try:
            while True:
                self._beat()
                await anyio.sleep(self._beat_s)
        finally:
            self._watchdog.stop()
            self._file.remove()

    def ready(self) -> None:
        """Report that the consumers are bound."""
        self._state = "ready"
        self._notifier.ready()
        self._beat()

    def stopping(self) -> None:
        """Report that the process takes no new work. The watchdog stops; the supervisor limits the drain."""
        self._state = "stopping"
        self._watchdog.stop()
        self._notifier.stopping()
        self._beat()

    def _beat(self) -> None:
        stalled_s = self.stalled_s() if self.process is None else self.process.loop.stall.seconds
        if stalled_s < HUNG_AFTER_S:
            self._watchdog.feed()
            self._notifier.alive()
        try:
            self._file.write(self._report())
        except OSError as error:
            if not self._file_failed:
                _log.warning("health file not written", path=str(self._file.path), reason=error.strerror)
            self._file_failed = True
        else:
            self._file_failed = False

    def _report(self) -> Report:
        now = datetime.now(UTC)
        known = Report(
            context=self._context,
            host=self._file.host,
            pid=self._file.pid,
            at=now,
            started_at=self._started_at,
            state=self._state,
            came_round_s=round(self.stalled_s(), 1),
            alarms=_raised(self.alarms) if self.alarms is not None else (),
        )
        if self.process is None:
            return known
        return with_process(known, self.process, unpublished_since=self._unpublished_since(self.process, now))

    def _unpublished_since(self, process: "ContextProcess", now: datetime) -> datetime | None:
        """When the oldest unpublished row was written.

        A timer row counts from the first beat with it: a rebuild writes timers of events that are long past.
        """
        oldest = process.relay.oldest
        if oldest is None:
            return None
        if self._oldest is None or self._oldest[0] != oldest.n:
            self._oldest = (oldest.n, now)
        occurred_at = oldest.row.headers.get(OCCURRED_AT)
        if oldest.row.stream == TIMERS or occurred_at is None:
            return self._oldest[1]
        return datetime.fromisoformat(occurred_at)


def with_process(known: Report, process: "ContextProcess", *, unpublished_since: datetime | None) -> Report:
    """The report, extended by the partitions, counts and alarms of the process."""
    relay, ownership = process.relay, process.ownership
    behind, behind_since = 0, None
    for partition in ownership.partitions.values():
        for reader in partition.readers.values():
            if partition.is_owned and reader.oldest is not None and reader.newest is not None:
                behind += reader.buffered + reader.newest.pending
                first_ns = reader.oldest.at_ns
                behind_since = first_ns if behind_since is None else min(behind_since, first_ns)
    return msgspec.structs.replace(
        known,
        came_round_s=round(process.loop.stall.seconds, 1),
        partitions=process.partitions,
        asked=list(ownership.partitions),
        owned=ownership.owned,
        decided=process.loop.counters.decided,
        parked=process.loop.counters.parked,
        refused=len(relay.blocked.reasons),
        unpublished=relay.backlog,
        unpublished_since=unpublished_since,
        behind=behind,
        behind_since=None if behind_since is None else moment(behind_since),
        alarms=_raised(process.alarms),
    )


def _not_stalled() -> float:
    return 0.0


def _raised(alarms: Alarms) -> list[Mapping[str, Any]]:
    ranked = sorted(alarms.raised, key=lambda alarm: alarm.kind == "publication")
    return [msgspec.to_builtins(alarm) for alarm in ranked[:ALARMS_AT_MOST]]
