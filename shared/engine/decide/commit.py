"""The commit: one transaction moves the positions, decides the batch, and writes everything that came of it.

State, inbox, outbox and position change together or not at all. The compare-and-set of the positions comes first: it is
the fence that keeps a process which lost a partition from committing for it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.engine.decide.answers import Given
from shared.engine.decide.decisions import Decisions
from shared.engine.decide.recording import inputs_of
from shared.engine.decide.set_aside import set_aside
from shared.engine.failpoints import reach
from shared.engine.route.incoming import Incoming
from shared.engine.route.routing import Routing
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, Move, NumberedRow, Position, RefusedRow
from shared.ports.store import Transaction
from shared.wire.messages import rfc3339


class Progress(NamedTuple):
    """News from the relay and the effect runner since the last commit."""

    acknowledged: Sequence[tuple[int, int]]
    """(journal number, stream sequence) of published rows."""
    attempts: Mapping[str, tuple[int, str]]
    """(attempts, last error) of the effects that have no outcome yet, by event id."""
    refused: Sequence[RefusedRow] = ()
    """Rows that the broker refuses for good."""


class Batch(NamedTuple):
    """The input of one transaction. `last_number` is the last journal row that this process knows."""

    messages: Sequence[Incoming]
    moves: Sequence[Move]
    progress: Progress
    owned: Sequence[int]
    last_number: int
    now: datetime


class Committed(NamedTuple):
    """The output of one transaction, for the relay, the effect runner and the metrics."""

    rows: Sequence[NumberedRow]
    """Rows that other processes wrote for our partitions since our last look, then our own rows."""
    effects: Sequence[EffectRow]
    undecided: Sequence[tuple[EffectRow, str]]
    """Effects whose outcome our code could not decide, and why; the runner repeats their calls later."""
    duplicates: int
    parked: int
    last_number: int
    answers: Sequence[Given]
    """The answers to the requests of the batch."""
    strangers: int
    """The number of strangers' messages in the batch."""


def commit(transaction: Transaction, routing: Routing, batch: Batch) -> Committed:
    """Decide a batch and write all of it.

    Raises:
        FencedError: another process has decided these messages; nothing of the batch may stay.
    """
    transaction.advance_positions(batch.moves)
    decisions = Decisions(routing, transaction, batch.now)
    to_decide, strangers = set_aside(batch.messages)
    messages = decisions.load(to_decide)
    reach("after-load")
    decisions.decide(messages)
    numbered = _write(transaction, decisions, batch.now)
    if routing.records_inputs:
        after_n = numbered[0].n - 1 if numbered else batch.last_number
        transaction.add_inputs(inputs_of(messages, decisions.ended_effects, after_n=after_n))
    if strangers:
        transaction.refused.record_strangers(strangers)
    record(transaction, batch.progress)
    reach("inside-transaction")
    others: list[NumberedRow] = []
    if numbered and numbered[0].n != batch.last_number + 1:
        others = transaction.unpublished(batch.owned, after=batch.last_number, before=numbered[0].n)
    asking = [numbered[index] for index in decisions.asking]
    return Committed(
        [*others, *numbered],
        [_effect_row(entry) for entry in asking if entry.row.partition in batch.owned],
        decisions.undecided,
        decisions.inbox.duplicates,
        len(decisions.parked_keys),
        numbered[-1].n if numbered else batch.last_number,
        decisions.answers.given,
        len(strangers),
    )


def moves_of(messages: Sequence[Incoming], position: Callable[[str, int], Position]) -> list[Move]:
    """The move from `position(stream, partition)` to the newest message of the batch, for each stream and partition."""
    newest: dict[tuple[str, int], Position] = {}
    for message in messages:
        if isinstance(message.source, Delivery):
            read = (message.stream, message.partition)
            if read not in newest or message.source.sequence > newest[read].seq:
                newest[read] = Position(message.source.sequence, message.message_id)
    moves = []
    for (stream, partition), last in newest.items():
        at = position(stream, partition)
        moves.append(Move(stream, partition, at.seq, *max(last, at)))
    return moves


def record(transaction: Transaction, progress: Progress) -> None:
    """Record what was published, refused and attempted."""
    transaction.mark_published(progress.acknowledged)
    transaction.refused.record(progress.refused)
    transaction.record_attempts([(count, error, event_id) for event_id, (count, error) in progress.attempts.items()])


def _write(transaction: Transaction, decisions: Decisions, now: datetime) -> list[NumberedRow]:
    """Write the decisions; returns the new journal rows with their numbers."""
    transaction.add_to_inbox(decisions.inbox.new)
    transaction.add_answers(decisions.answers.new)
    numbered = transaction.append(decisions.rows)
    transaction.save_snapshots(decisions.aggregates.changed())
    asking = [numbered[index] for index in decisions.asking]
    transaction.add_effects([(n, row.event_id, row.key, row.partition) for n, row in asking])
    if decisions.ended_effects:
        transaction.close_effects(list(decisions.ended_effects))
    parked_keys = decisions.parked_keys
    transaction.parked.park(parked_keys.parked)
    if parked_keys.unparked or parked_keys.failed_again:
        transaction.parked.unpark(parked_keys.unparked, at=rfc3339(now))
        transaction.parked.park_again(parked_keys.failed_again)
    return numbered


def _effect_row(entry: NumberedRow) -> EffectRow:
    row = entry.row
    return EffectRow(entry.n, row.event_id, row.key, row.partition, 0, row.type, row.headers, row.body)
