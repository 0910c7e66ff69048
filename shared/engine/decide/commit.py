"""The one transaction of a batch: from the positions' compare-and-set to the last row that came of it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.engine.decide.decisions import Decisions
from shared.engine.decide.routing import Input, Routing
from shared.engine.failpoints import reach
from shared.ports.rows import EffectRow, Move, NumberedRow, RefusedRow
from shared.ports.store import Transaction
from shared.wire.messages import rfc3339


class Progress(NamedTuple):
    """What the relay and the effect runner have to say since the last commit."""

    marks: Sequence[tuple[int, int]]
    """(journal number, stream sequence) of rows that are published."""
    attempts: Mapping[str, tuple[int, str]]
    """(how many, last error) by event id of effects whose outcome is still unknown."""
    refusals: Sequence[RefusedRow] = ()
    """Rows that the broker refuses for good."""


class Batch(NamedTuple):
    """What is committed together; `last_number` is how far this process knows the journal."""

    inputs: Sequence[Input]
    moves: Sequence[Move]
    progress: Progress
    held: Sequence[int]
    last_number: int
    now: datetime


class Committed(NamedTuple):
    """What one transaction wrote, for the steps that follow it."""

    rows: Sequence[NumberedRow]
    """Our rows, after those that other processes wrote for our partitions before them."""
    asked: Sequence[EffectRow]
    undecided: Sequence[tuple[Input, str]]
    duplicates: int
    parked: int
    last_number: int


def commit(transaction: Transaction, reactions: Routing, batch: Batch) -> Committed:
    """Advance the positions, load, decide, and write all that came of it.

    Raises:
        FencedError: another process has decided these messages; nothing of the batch may stay.
    """
    transaction.advance_positions(batch.moves)
    decisions = Decisions(reactions, transaction, batch.now)
    loaded = decisions.load(batch.inputs)
    reach("after-load")
    decisions.decide(loaded)
    transaction.add_to_inbox(decisions.inbox)
    numbered = transaction.append(decisions.rows)
    transaction.save_snapshots(decisions.snapshots)
    asked = [numbered[index] for index in decisions.asks]
    transaction.add_effects([(n, row.event_id, row.key, row.partition) for n, row in asked])
    if decisions.settled:
        transaction.close_effects(decisions.settled)
    transaction.parked.park(decisions.parked)
    if decisions.unparked or decisions.parked_again:
        transaction.parked.unpark(decisions.unparked, at=rfc3339(batch.now))
        transaction.parked.park_again(decisions.parked_again)
    record(transaction, batch.progress)
    reach("inside-transaction")
    others: list[NumberedRow] = []
    if numbered and numbered[0].n != batch.last_number + 1:
        others = transaction.unpublished(batch.held, after=batch.last_number, before=numbered[0].n)
    return Committed(
        [*others, *numbered],
        [_effect_row(entry) for entry in asked if entry.row.partition in batch.held],
        decisions.undecided,
        decisions.duplicates,
        decisions.waiting,
        numbered[-1].n if numbered else batch.last_number,
    )


def record(transaction: Transaction, progress: Progress) -> None:
    """Write down what was published, what was refused and what was tried."""
    transaction.mark_published(progress.marks)
    transaction.refused.record(progress.refusals)
    transaction.record_attempts([(count, error, event_id) for event_id, (count, error) in progress.attempts.items()])


def _effect_row(entry: NumberedRow) -> EffectRow:
    row = entry.row
    return EffectRow(entry.n, row.event_id, row.key, row.partition, 0, row.type, row.headers, row.body)
