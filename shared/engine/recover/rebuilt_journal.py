"""Rebuilds the content of a context's database from EVENTS, in stream order.

Own events give the journal, states, effects and parked messages. The messages that led to them give the inbox. The
position of a partition is the last message that led to an own event; later ones are read again and lead to no event.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from shared.context import Context
from shared.engine.decide.consequences import consequences
from shared.engine.decide.inbox import reused_id
from shared.engine.decide.outgoing import MESSAGE_ID_REUSED
from shared.engine.recover.catch_up import past_of
from shared.engine.recover.editions import timer_in_edition
from shared.engine.recover.provenance import Provenance
from shared.engine.recover.rebuilt_answers import AnsweredRequests
from shared.engine.recover.rebuilt_parked import ParkedHistory
from shared.engine.recover.snapshots import Fold, shape_of
from shared.engine.route.routing import Routing
from shared.ports.broker import Stored
from shared.ports.rows import SNAPSHOTS, JournalRow, Move, StrangerRow
from shared.ports.store import DatabaseError, Transaction
from shared.wire.engine_events import CommandRejected
from shared.wire.messages import (
    CAUSATION_HASH,
    CAUSATION_ID,
    CAUSATION_SUBJECT,
    MSG_ID,
    Subject,
    content_hash,
    fallback_id,
    parse_subject,
    partition_of,
    rfc3339,
    split_edition,
)
from shared.wire.streams import EVENTS

BATCH = 1_000

_rejection = msgspec.json.Decoder(CommandRejected)


class _Heard(NamedTuple):
    hash: bytes
    sequence: int
    partition: int
    is_read_again: bool
    """Whether the worker reads it again when it starts (`catch_up.py`)."""


class History:
    """`add` takes in every event of EVENTS, in stream order; `write` fills an empty database."""

    def __init__(
        self,
        context: Context,
        *,
        partitions: int,
        superseded: Mapping[str, int],
        timers: Mapping[tuple[str, bytes], int],
        declared: Sequence[StrangerRow],
    ) -> None:
        self._context = context.name
        self._partitions = partitions
        self._superseded = superseded
        self._timer_editions = timers
        self._routing = Routing(context, partitions=partitions)
        self._provenance = Provenance(self._routing)
        self._read_again = past_of(self._routing)
        self._fold = Fold(context)
        self._ids: set[str] = set()
        self._rows: list[JournalRow] = []
        self._published: list[tuple[int, int]] = []
        self._inbox: dict[str, bytes] = {}
        self._open_effects: dict[str, tuple[int, str, int]] = {}
        self._own_bodies: dict[str, bytes] = {}
        """The body of each own event that armed a timer, by the timer's first id."""
        self._timer_rows: dict[str, int] = {}
        """The index of each timer in `_rows`, by its first id."""
        self._asked: set[str] = set()
        """Every event that asked for an effect, with or without an outcome."""
        self._parked = ParkedHistory()
        self._declared = {row.message_id: row for row in declared}
        """The strangers that an operator declared: only the old database knows them."""
        self._strangers: dict[str, StrangerRow] = {}
        self._heard: dict[str, _Heard] = {}
        self._unheard: set[str] = set()
        """Causes of own events that did not come before them in the stream."""
        self._was_restored = False
        """Whether an event comes before its cause, because the stream was lost and journals restored its events."""
        self._positions: dict[int, tuple[int, str]] = {}
        self._requests = AnsweredRequests(self._routing)

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each kind."""
        return {
            "events": len(self._ids),
            "inbox": len(self._inbox),
            "aggregates": len(self._fold.states),
            "effects": len(self._open_effects),
            "parked": len(self._parked.parked(self._asked)),
            "strangers": len(self._strangers | self._declared),
        }

    def add(self, stored: Stored) -> None:
        """Add one event. It may be our own, one that we react to, a stranger's, or none of these.

        Raises:
            DatabaseError: this release cannot read an own event, or it does not follow those before it.
        """
        message_id = stored.headers.get(MSG_ID) or fallback_id(EVENTS, stored.sequence, stored.at)
        try:
            subject = parse_subject(stored.subject)
        except ValueError:
            if stored.subject.startswith(f"evt.{self._context}."):
                self._set_aside(message_id, stored, "its subject is malformed")
            return
        if self._routing.reacts_to(subject):
            self._hear(message_id, subject, stored)
        if subject.context == self._context:
            identity, edition = split_edition(message_id)
            if message_id in self._declared:
                return
            if (reason := self._provenance.why_not(stored)) is not None:
                if self._provenance.may_be_newer(stored):
                    problem = f"{message_id} is {subject.type}, which this release does not know; run a newer one"
                    raise self._with_remedy(DatabaseError(problem), message_id)
                self._set_aside(message_id, stored, reason)
            elif edition < self._superseded.get(identity, 1):
                self._set_aside(message_id, stored, "an operator declared it void")
            elif identity not in self._ids:
                self._ids.add(identity)
                try:
                    self._add_own(message_id, subject, stored)
                except DatabaseError as error:
                    self._with_remedy(error, message_id)
                    raise
                except (ValueError, ArithmeticError, LookupError, TypeError) as error:
                    problem = f"{message_id} cannot be taken in: {type(error).__name__}: {error}"
                    raise self._with_remedy(DatabaseError(problem), message_id) from error

    def _with_remedy(self, error: DatabaseError, message_id: str) -> DatabaseError:
        """Add the remedy: the event may be a stranger's that has the form of ours, and only an operator can know."""
        error.add_note(
            f"if somebody else published it, run chorus parked void {message_id} --why '…' and then"
            f" chorus rebuild {self._context} --force"
        )
        return error

    def _hear(self, message_id: str, subject: Subject, stored: Stored) -> None:
        is_read_again = f"{subject.context}.{subject.type}" in self._read_again
        heard = _Heard(content_hash(stored.body), stored.sequence, subject.partition, is_read_again)
        self._heard.setdefault(message_id, heard)
        if message_id in self._unheard:
            self._was_restored = True
            self._inbox.setdefault(message_id, heard.hash)

    def _set_aside(self, message_id: str, stored: Stored, reason: str) -> None:
        row = StrangerRow(message_id, stored.sequence, stored.subject, reason, rfc3339(stored.at), "", "")
        self._strangers.setdefault(message_id, row)

    def _add_own(self, message_id: str, subject: Subject, stored: Stored) -> None:
        identity, _ = split_edition(message_id)
        aggregate, _, version = identity.removeprefix(f"{self._context}/").rpartition("@")
        headers = {  # Without the server's own headers, which the journal never had.
            name: value for name, value in stored.headers.items() if name == MSG_ID or not name.startswith("Nats-")
        }
        row = JournalRow(
            message_id,
            aggregate,
            int(version),
            f"evt.{self._context}.{subject.type}.{subject.key}",
            subject.type,
            headers,
            stored.body,
            partition_of(subject.key, self._partitions),
        )
        self._rows.append(row)
        self._published.append((len(self._rows), stored.sequence))
        self._remember_cause(subject.type, stored)
        self._parked.add(stored, subject)
        event = self._fold.add(row)
        self._requests.add(row, event)
        if event is not None:
            self._follow(identity, subject, row, event)

    def _follow(self, identity: str, subject: Subject, row: JournalRow, event: Any) -> None:
        """Add the effect and the timer of an event. Both go by its id without the edition."""
        asks_for_effect, armed = consequences(self._routing, event, row)
        if asks_for_effect:
            self._asked.add(identity)
            self._open_effects[identity] = (len(self._rows), subject.key, row.partition)
        if armed is not None:
            self._own_bodies[armed.event_id] = armed.body
            self._timer_rows[armed.event_id] = len(self._rows)
            self._rows.append(timer_in_edition(armed, self._timer_editions.get((armed.event_id, armed.body), 1)))

    def _remember_cause(self, kind: str, stored: Stored) -> None:
        cause = stored.headers.get(CAUSATION_ID, "")
        self._open_effects.pop(cause, None)
        if CAUSATION_SUBJECT in stored.headers:
            return  # Requests have an inbox of their own: `AnsweredRequests`.
        if (of_command := stored.headers.get(CAUSATION_HASH)) is not None:
            content = bytes.fromhex(of_command)
            reused = kind == CommandRejected.__name__ and _rejection.decode(stored.body).reason == MESSAGE_ID_REUSED
            self._inbox[reused_id(cause, content) if reused else cause] = content
        elif (armed := self._own_bodies.get(split_edition(cause)[0])) is not None:
            self._inbox[cause] = content_hash(armed)
            first, edition = split_edition(cause)
            if edition > 1:
                index = self._timer_rows[first]
                self._rows[index] = timer_in_edition(self._rows[index], edition)
        elif (heard := self._heard.get(cause)) is not None:
            self._inbox[cause] = heard.hash
            if heard.sequence > self._positions.get(heard.partition, (0, ""))[0]:
                self._positions[heard.partition] = (heard.sequence, cause)
        else:
            self._unheard.add(cause)

    def write(self, transaction: Transaction) -> None:
        """Write everything into an empty database.

        Every message before our position was decided or is parked. After a loss of the stream, when journals restored
        its events, only the causes of own events are known to be decided, so the worker reads from the start.
        """
        if self._was_restored:
            self._positions.clear()
        for message_id, heard in self._heard.items():
            if not heard.is_read_again and heard.sequence <= self._positions.get(heard.partition, (0, ""))[0]:
                self._inbox.setdefault(message_id, heard.hash)
        self._inbox = {**self._parked.hashes, **self._inbox}
        for first in range(0, len(self._rows), BATCH):
            transaction.append(self._rows[first : first + BATCH])
        transaction.mark_published(self._published)
        transaction.save_snapshots(self._fold.snapshots())
        transaction.set_meta(SNAPSHOTS, shape_of(self._routing.context))
        transaction.add_effects([(n, identity, key, p) for identity, (n, key, p) in self._open_effects.items()])
        transaction.parked.park(self._parked.parked(self._asked))
        transaction.parked.retry_orphans()
        transaction.parked.record_skipped(self._parked.skipped())
        transaction.refused.record_strangers((self._strangers | self._declared).values())
        transaction.add_to_inbox(list(self._inbox.items()))
        transaction.add_answers(self._requests.rows())
        moves = [Move(EVENTS, partition, 0, *position) for partition, position in self._positions.items()]
        transaction.advance_positions(moves)
