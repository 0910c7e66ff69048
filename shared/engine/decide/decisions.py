"""The middle of the loop: a batch of inputs against loaded states, in order and in memory, to rows for one commit."""

import contextlib
import logging
from collections.abc import Sequence
from datetime import datetime

import structlog

from shared.context import Aggregate, Command, Detail, Event, Rejected, State
from shared.engine.decide.aggregates import AlsoRead, Loaded, LoadedAggregates
from shared.engine.decide.outgoing import MESSAGE_ID_REUSED, OutgoingRows, conflict_id, parked_aggregate, timer_row
from shared.engine.decide.routing import Input, Routing, current_traceback
from shared.ports.broker import Delivery
from shared.ports.rows import JournalRow, ParkedRow, ParkedVerdict
from shared.ports.store import Transaction
from shared.wire.bodies import BODY_BYTES_AT_MOST
from shared.wire.messages import MSG_ID
from shared.wire.streams import COMMANDS

_log = structlog.get_logger("chorus.decisions")


class Decisions:
    """What one batch comes to; filled by `decide`, written by the loop in the same transaction."""

    def __init__(self, reactions: Routing, transaction: Transaction, now: datetime) -> None:
        self._reactions = reactions
        self._context = reactions.context
        self._states = LoadedAggregates(transaction, reactions.context.aggregates)
        self._make = OutgoingRows(
            self._context.name,
            schema_version=self._context.schema_version,
            partitions=reactions.partitions,
            now=now,
        )
        self._transaction = transaction
        self._parked_keys = transaction.parked.counts()
        self._known: dict[str, bytes] = {}
        self.rows: list[JournalRow] = []
        self.asks: list[int] = []
        """Indexes into `rows` of the events that ask for an effect."""
        self.inbox: list[tuple[str, bytes]] = []
        self.parked: list[ParkedRow] = []
        self.unparked: list[int] = []
        """Parked messages that were decided now, or skipped."""
        self.parked_again: dict[int, tuple[str, str]] = {}
        """Parked messages that failed again: (key, reason) by id."""
        self._failed_again: set[str] = set()
        self.settled: list[str] = []
        """Effects whose outcome was decided."""
        self.undecided: list[tuple[Input, str]] = []
        """Outcomes on which our code raised, and what; their effects stay asked for."""
        self.duplicates = 0
        self._verbose = _log.is_enabled_for(logging.DEBUG)

    def load(self, inputs: Sequence[Input]) -> Sequence[Input]:
        """One query for known ids, one for every aggregate the commands name; what was settled meanwhile falls away."""
        self._known = self._transaction.inbox_hashes([i.message_id for i in inputs if i.delivery is not None])
        asked = [input_.effect.event_id for input_ in inputs if input_.effect is not None]
        if asked:
            open_ = self._transaction.still_open(asked)
            inputs = [input_ for input_ in inputs if input_.effect is None or input_.effect.event_id in open_]
        again = [input_.parked.id for input_ in inputs if input_.parked is not None]
        if again:
            there = self._transaction.parked.still_parked(again)
            inputs = [input_ for input_ in inputs if input_.parked is None or input_.parked.id in there]
        self._states.prefetch(self._names(inputs))
        return inputs

    def decide(self, inputs: Sequence[Input]) -> None:
        """Decide the loaded inputs, in order and in memory."""
        known = self._known
        for input_ in inputs:
            if input_.parked is not None:
                self._try_again(input_, input_.parked)
                continue
            if input_.ignored:
                continue
            if input_.delivery is not None:
                seen = known.get(input_.message_id)
                if seen is not None:
                    self._meet_again(input_, input_.delivery, seen)
                    continue
                known[input_.message_id] = input_.hash
                self.inbox.append((input_.message_id, input_.hash))
            if input_.refusal is not None:
                self._reject(input_, input_.refusal.reason, input_.refusal.details)
            elif input_.key in self._parked_keys and input_.delivery is not None:
                self._park(input_, input_.delivery, "")
            elif (failure := self._put(input_)) is None:
                if input_.effect is not None:
                    self.settled.append(input_.effect.event_id)
            elif input_.delivery is None:
                self.undecided.append((input_, failure))
            else:
                self._park(input_, input_.delivery, failure)

    @property
    def waiting(self) -> int:
        """How many messages of the context are parked after this batch."""
        return sum(self._parked_keys.values())

    @property
    def snapshots(self) -> list[tuple[str, int, str]]:
        """The aggregates' new states."""
        return self._states.changed()

    def _names(self, inputs: Sequence[Input]) -> dict[str, Aggregate]:
        named: dict[str, Aggregate] = {}
        deciders = self._reactions.deciders
        for input_ in inputs:
            for command in input_.commands:
                with contextlib.suppress(Exception):  # Only thrift: what raises here raises again where it is decided.
                    decider, id_of = deciders[type(command)]
                    named[id_of(command)] = decider.aggregate
                    if decider.also_reads is not None and decider.keys_read is not None:
                        beside = decider.also_reads
                        named |= {beside.id_from(asked): beside for asked in decider.keys_read(command)}
        return named

    def _put(self, input_: Input) -> str | None:
        """Put the input's commands to their deciders; when one raises, nothing of it stays, and why is returned."""
        if input_.poison is not None:
            return input_.poison
        rows, asks = len(self.rows), len(self.asks)
        undo: list[tuple[Loaded, int, State, bool]] = []
        try:
            for command in input_.commands:
                self._decide(input_, command, undo)
        except Exception:
            for held, version, state, changed in reversed(undo):
                held.version, held.state, held.changed = version, state, changed
            del self.rows[rows:], self.asks[asks:]
            return current_traceback()
        if self._verbose:
            _log.debug(
                "decided",
                saga=input_.correlation_id,
                heard=input_.type,
                commands=[type(command).__name__ for command in input_.commands],
                events=[row.type for row in self.rows[rows:]],
            )
        return None

    def _try_again(self, input_: Input, waiting: ParkedVerdict) -> None:
        """A parked message that somebody has looked at; what waits behind one that fails again goes on waiting."""
        if input_.key in self._failed_again:
            return
        if waiting.skip:
            _log.warning("skipped", key=input_.key, message=input_.message_id, who=waiting.who, why=waiting.why)
        elif input_.refusal is not None:
            self._reject(input_, input_.refusal.reason, input_.refusal.details)
        elif (failure := self._put(input_)) is not None:
            self._failed_again.add(input_.key)
            self._park_again(input_, waiting, failure)
            _log.error("parked again", key=input_.key, message=input_.message_id, type=input_.type, reason=failure)
            return
        else:
            _log.warning("unparked", key=input_.key, message=input_.message_id)
        self.rows.append(self._make.unparked(input_, waiting))
        self.unparked.append(waiting.id)
        self._parked_keys[input_.key] -= 1
        if not self._parked_keys[input_.key]:
            del self._parked_keys[input_.key]

    def _decide(self, input_: Input, command: Command, undo: list[tuple[Loaded, int, State, bool]]) -> None:
        decider, id_of = self._reactions.deciders[type(command)]
        state = self._states.held(decider.aggregate, id_of(command)).state
        if decider.also_reads is None:
            events = decider.decide(command, state)
        else:
            events = decider.decide(command, state, AlsoRead(self._states, decider.also_reads))
        for event in events:
            if type(event) is Rejected:
                self._reject(input_, event.reason, event.details)
            else:
                self._record(input_, event, undo)

    def _record(self, input_: Input, event: Event, undo: list[tuple[Loaded, int, State, bool]]) -> None:
        kind = type(event)
        aggregate = self._reactions.aggregate_of[kind]
        key, identity = self._reactions.key_of[kind](event), aggregate.id_of(event)
        held = self._states.held(aggregate, identity)
        undo.append((held, held.version, held.state, held.changed))
        held.state = aggregate.evolve(held.state, event)
        held.version += 1
        held.changed = True
        if kind in self._reactions.effects:
            self.asks.append(len(self.rows))
        row = self._make.event(input_, event, identity, key, held.version)
        self.rows.append(row)
        timer = self._reactions.timers.get(kind)
        if timer is not None and (at := timer.at(event)) is not None:
            self.rows.append(timer_row(self._context.name, row, timer.name, key, at))

    def _reject(self, input_: Input, reason: str, details: tuple[Detail, ...]) -> None:
        self.rows.append(self._make.rejection(input_, reason, details))
        _log.info("rejected", command=input_.type, saga=input_.correlation_id, reason=reason)

    def _meet_again(self, input_: Input, delivery: Delivery, seen: bytes) -> None:
        """The same id again: with the same content it has no effect, with other content it is reported, once."""
        conflict = conflict_id(input_.message_id, input_.hash)
        if seen == input_.hash or self._transaction.inbox_hashes([conflict]):
            self.duplicates += 1
            return
        self._transaction.add_to_inbox([(conflict, input_.hash)])
        _log.error("other content under a known id", message=input_.message_id, type=input_.type, saga=input_.key)
        if input_.stream == COMMANDS:
            said = Detail(path=MSG_ID, message=f"{input_.message_id} was used for other content before; use a new id")
            self._reject(input_, MESSAGE_ID_REUSED, (said,))
        else:
            self.rows.append(self._make.dead_letter(input_, delivery, f"{input_.message_id} came before"))

    def _park_again(self, input_: Input, waiting: ParkedVerdict, reason: str) -> None:
        """Keep the message parked, with the reason why it failed this time; a new reason is an event of its own."""
        self.parked_again[waiting.id] = (input_.key, reason)
        version = self._transaction.last_version(parked_aggregate(input_.message_id))
        if version == 0 or reason != waiting.row.reason:
            self.rows.append(self._make.parked(input_, waiting.row._replace(reason=reason), version=version + 1))

    def _park(self, input_: Input, delivery: Delivery, reason: str) -> None:
        """Let the message wait, on record in EVENTS; the first of its key also goes to DEAD_LETTERS with the reason.

        A body that is too large for any message of ours is cut where it is still too large: it is decided the same way,
        and the event stays below what the server takes.
        """
        if input_.key not in self._parked_keys:
            self._parked_keys[input_.key] = 0
            _log.error("parked", key=input_.key, message=input_.message_id, type=input_.type, reason=reason)
            self.rows.append(self._make.dead_letter(input_, delivery, reason))
        self._parked_keys[input_.key] += 1
        row = ParkedRow(
            input_.key, input_.partition, input_.stream, delivery.sequence, delivery.at_ns, input_.message_id,
            delivery.subject, delivery.headers, delivery.body[: BODY_BYTES_AT_MOST + 1], reason,
        )  # fmt: skip
        self.rows.append(self._make.parked(input_, row))
        self.parked.append(row)
