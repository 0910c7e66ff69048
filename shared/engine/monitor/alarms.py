"""The conditions that keep this process from its work right now, each with its remedy.

The part of the engine that meets a condition raises its alarm, and the same part clears it. An alarm logs two lines:
one when it begins, and one when it ends, with a count of the occurrences between them. The health file and the metrics
show the alarms that are raised.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Final, Literal, TypeAlias, get_args

import structlog
from msgspec import Struct

from shared.ports.clock import Clock

Kind: TypeAlias = Literal[
    "backlog",
    "broker",
    "consumer",
    "database",
    "endpoint",
    "permission",
    "publication",
    "server",
    "service",
    "stream_full",
]
"""The kind of a condition; a label of the metric."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
REASON_LENGTH_AT_MOST: Final = 500

_log = structlog.get_logger("chorus.alarms")


class Alarm(Struct, kw_only=True):
    """One condition. `kind` and `subject` name it; `count` is the number of occurrences since `since`."""

    kind: Kind
    subject: str
    reason: str
    remedy: str
    since: datetime
    count: int = 1


class Alarms:
    """The alarms of one process, by kind and subject."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._raised: dict[tuple[Kind, str], Alarm] = {}

    @property
    def raised(self) -> list[Alarm]:
        """Every alarm that is raised now, oldest first."""
        return list(self._raised.values())

    def raise_(self, kind: Kind, subject: str, *, reason: str, remedy: str) -> None:
        """Raise an alarm; one that is raised already only counts and takes the newer reason."""
        reason = reason[:REASON_LENGTH_AT_MOST]
        alarm = self._raised.get((kind, subject))
        if alarm is not None:
            alarm.count += 1
            alarm.reason, alarm.remedy = reason, remedy
            return
        self._raised[kind, subject] = Alarm(
            kind=kind, subject=subject, reason=reason, remedy=remedy, since=self._clock.now()
        )
        _log.error("alarm raised", kind=kind, subject=subject, reason=reason, remedy=remedy)

    def clear(self, kind: Kind, subject: str) -> None:
        """Clear an alarm; one that is not raised needs nothing."""
        alarm = self._raised.pop((kind, subject), None)
        if alarm is not None:
            lasted_s = round((self._clock.now() - alarm.since).total_seconds(), 1)
            _log.warning("alarm cleared", kind=kind, subject=subject, count=alarm.count, lasted_s=lasted_s)

    def clear_except(self, kind: Kind, subjects: Iterable[str]) -> None:
        """Clear every alarm of a kind but those of these subjects."""
        kept = set(subjects)
        for subject in [name for found, name in self._raised if found == kind and name not in kept]:
            self.clear(kind, subject)
