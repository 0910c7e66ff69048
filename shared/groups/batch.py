"""Folds a batch of deliveries in one transaction with the position: tables, topologies, and the events to publish."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, NoReturn

import structlog

from shared.engine.failpoints import reach
from shared.groups.fold.flow_state import FlowState
from shared.groups.fold.flowing import Flowing
from shared.groups.fold.folding import Folding
from shared.groups.forwarding.cloud_event import rows_of
from shared.groups.publish.outbox import journal_rows
from shared.groups.read.intake import Heard, Intake
from shared.ports.broker import Delivery
from shared.ports.rows import JournalRow, NumberedRow
from shared.ports.views import Known, ViewTransaction
from shared.readside.group import Group
from shared.readside.views import Told
from shared.wire.messages import MSG_ID

_log = structlog.get_logger("chorus.group")


class FoldedBatch(NamedTuple):
    """The result of one transaction: the new position, the events to publish, and how many were folded and set aside.

    `closes_at` is the time from which the earliest open window is final.
    """

    known: Known
    new: list[NumberedRow]
    folded: int
    set_aside: int
    closes_at: datetime | None


class NothingStaysError(Exception):
    """Rolls back a transaction that only computes; `rows` is its result."""

    def __init__(self, rows: list[JournalRow]) -> None:
        super().__init__()
        self.rows = rows


class Batches:
    """Folds the batches of one group. Its methods run in the database's thread."""

    def __init__(self, context: str, group: Group) -> None:
        self._intake = Intake(context, group)
        self._folding = Folding(group)
        self._flowing = Flowing(group.topologies)
        self._context = context
        self._forwards = group.forwards

    def fold(self, transaction: ViewTransaction, deliveries: Sequence[Delivery], known: Known) -> FoldedBatch:
        """Fold deliveries that follow `known`; the transaction may be tried again."""
        last = deliveries[-1]
        after = Known(last.sequence, last.headers.get(MSG_ID, ""), last.at_ns, known.created)
        transaction.advance(known.sequence, after)
        named, own, strangers = self._intake.named(deliveries)
        versions = transaction.versions({name for event in named for name in event.remembered})
        admitted = self._intake.admit(named, versions, strangers)
        poison = [*admitted.poison, *self._folding.fold(transaction, admitted.heard)]
        if own:
            transaction.seen_in_stream(own)  # First: an event about a window that EVENTS has is not published again.
        new, closes_at = self._flow(transaction, admitted.heard)
        if self._forwards is not None:
            transaction.forwards.add(rows_of(admitted.heard, self._forwards))
        poison += self._flowing.poison
        transaction.save_versions(admitted.versions)
        if poison:
            transaction.set_aside(poison)
            _log.error("events set aside: they cannot be folded", first=poison[0].reason, reasons=len(poison))
        if admitted.strangers:
            _log.warning("events of strangers skipped", events=admitted.strangers)
        reach("inside-transaction")
        aside = len({one.sequence for one in poison})
        return FoldedBatch(after, new, sum(not one.is_own for one in admitted.heard), aside, closes_at)

    def closes_at(self, transaction: ViewTransaction) -> datetime | None:
        """The time from which the earliest open window is final."""
        return self._flowing.closes_at(FlowState(transaction))

    def close(self, transaction: ViewTransaction, known: Known, headers: Mapping[str, str], at: datetime) -> NoReturn:
        """Raise NothingStaysError with the events that would be published if stream time were `at` now.

        Their cause is the last event that was folded; `headers` are its headers.
        """
        cause = Heard(("", ""), known.message_id, Told(known.sequence, "", at), None, headers)
        said = self._flowing.close(FlowState(transaction), cause)
        raise NothingStaysError([added.row for added in transaction.add_to_outbox(journal_rows(self._context, said))])

    def _flow(self, transaction: ViewTransaction, heard: Sequence[Heard]) -> tuple[list[NumberedRow], datetime | None]:
        if not self._flowing.is_needed:
            return [], None
        state = FlowState(transaction)
        said = self._flowing.flow(heard, state)
        closes_at = self._flowing.closes_at(state)
        state.flush()
        return transaction.add_to_outbox(journal_rows(self._context, said)), closes_at
