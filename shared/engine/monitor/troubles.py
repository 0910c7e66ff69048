"""Turns errors of the broker and the database into alarms, each with its remedy.

A source of trouble is a part of the engine that tries again, such as a partition or the publishing to a stream. It
reports every failure and the first success. An alarm lasts while any source has it.
"""

from collections.abc import Callable, Iterable
from typing import Final

from shared.engine.monitor.alarms import Alarms, Kind
from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, BrokerRefusedError, Denial, NoRespondersError
from shared.ports.rows import NumberedRow
from shared.ports.store import DatabaseBusyError
from shared.wire.streams import STREAM_OF

SERVER: Final = "JetStream"
STREAM_FULL: Final = 10077

_AlarmId = tuple[Kind, str]


class Troubles:
    """The troubles of one process."""

    def __init__(self, alarms: Alarms, broker: Broker, context: str) -> None:
        self.alarms = alarms
        self._broker = broker
        self._context = context
        self._database = f"{context}.db"
        self._alarms_by_source: dict[str, set[_AlarmId]] = {}
        self._denied: dict[str, int] = {}
        self._is_full = False
        self.database_busy = False
        self.stream_is_missing: Callable[[], None] = _nothing
        """Called when no stream answers a publication: the stream that comes back may be another one."""

    def failed(self, source: str, error: BrokerError) -> None:
        """A source has failed. A denied permission raises no alarm here, because `check_permissions` raises it."""
        if isinstance(error, BrokerDeniedError):
            return
        kind: Kind = "broker"
        subject, reason = SERVER, str(error)
        remedy = "nothing, if the server is starting; else start it or look into its log"
        if isinstance(error, BrokerRefusedError) and error.missing:
            kind, subject, reason, remedy = "consumer", error.subject, error.text, "run chorus streams apply"
            self._release(source, [("broker", SERVER)])  # The server answers.
        self._alarms_by_source.setdefault(source, set()).add((kind, subject))
        self.alarms.raise_(kind, subject, reason=reason, remedy=remedy)

    def unpublished(self, stream: str, error: BrokerError) -> None:
        """The relay could not publish to a stream; it retries."""
        source = _publishing(stream)
        if isinstance(error, NoRespondersError):
            self.stream_is_missing()
        if not isinstance(error, BrokerRefusedError) or error.code != STREAM_FULL:
            self.failed(source, error)
            return
        self._alarms_by_source.setdefault(source, set()).add(("stream_full", stream))
        remedy = "raise its max_msgs or max_bytes in streams.yaml and run chorus streams apply, or drain it"
        self.alarms.raise_("stream_full", stream, reason=str(error), remedy=remedy)

    def published(self, stream: str) -> None:
        """The relay has published all of its current rows of a stream."""
        self.succeeded(_publishing(stream))

    def refused(self, numbered: NumberedRow, reason: str, *, is_id_conflict: bool) -> None:
        """The broker refuses a row for good, so no row of its key can be published."""
        n, row = numbered
        number = f"{row.subject.split('.')[1]}/r{n}"
        verdict = f"void {number} --why '…'" if is_id_conflict else f"retry {number}"
        self.alarms.raise_(
            "publication",
            row.key,
            reason=f"{row.event_id}: {reason}",
            remedy=f"chorus parked show {number}, then chorus parked {verdict}",
        )

    def unanswered(self, numbered: NumberedRow) -> None:
        """The broker answers other publishes, but not that of this row."""
        row = numbered.row
        self.alarms.raise_(
            "publication",
            row.key,
            reason=f"{row.event_id}: the broker answers, but not the publish to {row.subject}",
            remedy=f"see in the server's log and /healthz whether its disk is full, and whether this worker's user may"
            f" publish to {row.subject}; the worker tries again by itself",
        )

    def check_backlog(self, refused: int, *, is_full: bool) -> None:
        """Raise an alarm while the loop takes no new messages because this many rows wait for an operator."""
        if is_full == self._is_full:
            return
        self._is_full = is_full
        if is_full:
            self.alarms.raise_(
                "backlog",
                self._context,
                reason=f"{refused} rows are refused or wait behind a refused one, so it takes no new messages",
                remedy=f"chorus parked ls {self._context}, and retry or void what it lists",
            )
        else:
            self.alarms.clear("backlog", self._context)

    def key_is_free(self, key: str) -> None:
        """The rows of this key can be published again, or belong to another process now."""
        self.alarms.clear("publication", key)

    def succeeded(self, source: str) -> None:
        """A source has succeeded."""
        if source in self._alarms_by_source:
            self._release(source, list(self._alarms_by_source[source]))

    def check_permissions(self) -> None:
        """Raise an alarm for each missing permission, and clear the alarms of permissions that were granted since."""
        denials = self._broker.denials
        if not denials and not self._denied:
            return
        denied: dict[str, int] = {}
        for denial in denials:
            subject = _pattern(denial.subject)
            denied[subject] = denied.get(subject, 0) + denial.times
            if denied[subject] > self._denied.get(subject, 0):
                self.alarms.raise_("permission", subject, reason=_reason(denial), remedy=_permission(denial))
        self.alarms.clear_except("permission", denied)
        self._denied = denied

    def busy(self, error: DatabaseBusyError) -> None:
        """The database could not be used; the caller waits and retries."""
        self.database_busy = True
        remedy = "free space on its disk, or end the process that keeps it locked; the worker goes on by itself"
        self.alarms.raise_("database", self._database, reason=str(error), remedy=remedy)

    def committed(self) -> None:
        """A transaction was committed."""
        if self.database_busy:
            self.database_busy = False
            self.alarms.clear("database", self._database)

    def _release(self, source: str, alarms: Iterable[_AlarmId]) -> None:
        for alarm in alarms:
            self._alarms_by_source.get(source, set()).discard(alarm)
            if not any(alarm in raised for raised in self._alarms_by_source.values()):
                self.alarms.clear(*alarm)
        if not self._alarms_by_source.get(source):
            self._alarms_by_source.pop(source, None)


def _nothing() -> None:
    """Do nothing, until `ContextProcess` sets a callback."""


def _publishing(stream: str) -> str:
    return f"publishing to {stream}"


def _reason(denial: Denial) -> str:
    return f"user {denial.user} may not {denial.action} to {denial.subject}"


def _permission(denial: Denial) -> str:
    return f"allow user {denial.user} to {denial.action} to {_pattern(denial.subject)} in the server's permissions"


def _pattern(subject: str) -> str:
    """The subject without its key: administrators grant permissions for all keys."""
    kind, *_ = subject.split(".", 1)
    return f"{subject.rpartition('.')[0]}.*" if kind in STREAM_OF else subject
