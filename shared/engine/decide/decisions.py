"""Decides one batch in memory, in the order of the stream, between the load and the commit of one transaction."""

import contextlib
import logging
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from shared.context import Aggregate, Command, Detail, Event, Rejected, State
from shared.engine.decide.aggregates import AlsoRead, Loaded, LoadedAggregates
from shared.engine.decide.answers import Answers
from shared.engine.decide.consequences import consequences
from shared.engine.decide.inbox import Inbox, Seen
from shared.engine.decide.outgoing import MESSAGE_ID_REUSED, OutgoingRows
from shared.engine.decide.parking import ParkedKeys
from shared.engine.route.incoming import Asker, Decide, Ignore, Incoming, Poison, Refuse
from shared.engine.route.routing import Deciding, Routing
from shared.engine.route.tracebacks import current_traceback
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, JournalRow, ParkedVerdict
from shared.ports.store import Transaction
from shared.wire.messages import MSG_ID
from shared.wire.streams import COMMANDS

_log = structlog.get_logger("chorus.decisions")

_Before = tuple[Loaded, int, State, bool]
"""An aggregate, and its version, state and `changed` before an event."""


class Decisions:
    """The results of one batch. `load` and `decide` fill them in, and the commit writes them."""

    def __init__(self, routing: Routing, transaction: Transaction, now: datetime) -> None:
        self._routing = routing
        self._transaction = transaction
        self.aggregates = LoadedAggregates(transaction, routing.states)
        self._outgoing = OutgoingRows(
            routing.context.name,
            schema_version=routing.context.schema_version,
            partitions=routing.partitions,
            now=now,
            tracing=routing.tracing,
        )
        self.inbox = Inbox(transaction)
        self.answers = Answers(transaction)
        self.parked_keys = ParkedKeys(transaction, self._outgoing)
        self.rows: list[JournalRow] = []
        self.asking: list[int] = []
        """Indexes into `rows` of the events that ask for an effect."""
        self.ended_effects: dict[str, None] = {}
        """Event ids of the effects whose outcome was decided, in order."""
        self.undecided: list[tuple[EffectRow, str]] = []
        """Effects whose outcome our code could not decide, and why; they stay open."""
        self._debug = _log.is_enabled_for(logging.DEBUG)

    def load(self, messages: Sequence[Incoming]) -> Sequence[Incoming]:
        """Load what the batch needs, in one query each; returns the messages that still have to be decided.

        Another process may have decided an outcome or a parked message since this one read it.
        """
        self.inbox.load(m for m in messages if type(m.source) is Delivery and type(m.handling) is not Ignore)
        open_effects = [message.source.event_id for message in messages if isinstance(message.source, EffectRow)]
        if open_effects:
            left = self._transaction.still_open(open_effects)
            messages = [m for m in messages if not isinstance(m.source, EffectRow) or m.source.event_id in left]
        retried = [message.source.id for message in messages if isinstance(message.source, ParkedVerdict)]
        if retried:
            there = self._transaction.parked.still_parked(retried)
            messages = [m for m in messages if not isinstance(m.source, ParkedVerdict) or m.source.id in there]
            self.parked_keys.load(m.message_id for m in messages if isinstance(m.source, ParkedVerdict))
        self.answers.load(messages)
        self._prefetch(messages)
        return messages

    def decide(self, messages: Sequence[Incoming]) -> None:
        """Decide the loaded messages one after the other."""
        for message in messages:
            source = message.source
            if isinstance(source, Delivery):
                self._decide_delivered(message, source)
            elif isinstance(source, ParkedVerdict):
                self._decide_parked(message, source)
            elif isinstance(source, Asker):
                self._decide_request(message, source)
            else:
                self._decide_outcome(message, source)

    def _decide_delivered(self, message: Incoming, delivery: Delivery) -> None:
        if type(message.handling) is Ignore:
            self._note("ignored", message)
            return
        match self.inbox.check(message):
            case Seen.DUPLICATE:
                self._note("duplicate", message)
                return
            case Seen.REUSED_ID:
                self._report_reused_id(message, delivery)
                return
            case Seen.NEW:
                pass
        if type(message.handling) is Refuse:
            self._reject(message, message.handling.reason, message.handling.details)
        elif message.key in self.parked_keys:
            self._note("parked behind another", message)
            self.rows += self.parked_keys.park(message, delivery, "")
        elif (failure := self._try(message)) is not None:
            self.rows += self.parked_keys.park(message, delivery, failure)

    def _decide_parked(self, message: Incoming, waiting: ParkedVerdict) -> None:
        """Retry or skip a parked message, as an operator has said."""
        if self.parked_keys.failed_in_this_batch(message.key):
            return
        if not waiting.skip:
            if type(message.handling) is Refuse:
                self._reject(message, message.handling.reason, message.handling.details)
            elif (failure := self._try(message)) is not None:
                self.rows += self.parked_keys.park_again(message, waiting, failure)
                return
        self.rows.append(self.parked_keys.unpark(message, waiting))

    def _decide_outcome(self, message: Incoming, effect: EffectRow) -> None:
        if effect.event_id in self.ended_effects:
            return  # Two calls of one effect have ended: the partition was released and taken over between them.
        failure = self._try(message)
        if failure is None:
            self.ended_effects[effect.event_id] = None
        else:
            self.undecided.append((effect, failure))

    def _decide_request(self, message: Incoming, asker: Asker) -> None:
        if self.answers.repeat(message, asker):
            self._note("duplicate", message)
            self.inbox.duplicates += 1
        elif message.key in self.parked_keys:
            self.answers.refuse(asker, "503", f"{message.key} is parked; retry later with the same Idempotency-Key")
        elif (failure := self._try(message, lambda events: self.answers.give(message, asker, events))) is not None:
            _log.error("request failed", request=message.type, **message.ids, reason=failure)
            self.answers.refuse(asker, "500", failure.strip().splitlines()[-1][:500])

    def _try(self, message: Incoming, then: Callable[[Sequence[Event]], None] | None = None) -> str | None:
        """Put the commands to their deciders, then call `then`. When one raises, undo all and return the reason."""
        handling = message.handling
        if isinstance(handling, Poison):
            return handling.reason
        commands = handling.commands if isinstance(handling, Decide) else ()
        rows, asking = len(self.rows), len(self.asking)
        undo: list[_Before] = []
        decided: list[Event] = []
        try:
            for command in commands:
                decided += self._decide_command(message, command, undo)
            if then is not None:
                then(decided)
        except Exception:
            for loaded, version, state, changed in reversed(undo):
                loaded.version, loaded.state, loaded.changed = version, state, changed
            del self.rows[rows:], self.asking[asking:]
            return current_traceback()
        if self._debug:
            _log.debug(
                "decided",
                **message.ids,
                heard=message.type,
                given_by=self._routing.given_by(message),
                commands=[type(command).__name__ for command in commands],
                events=[row.type for row in self.rows[rows:]],
            )
        return None

    def _decide_command(self, message: Incoming, command: Command, undo: list[_Before]) -> Sequence[Event]:
        decider, id_of, _, _ = self._routing.deciders[type(command)]
        state = self.aggregates.get(decider.aggregate, id_of(command)).state
        others = [AlsoRead(self.aggregates.state, reads.aggregate) for reads in decider.also_reads]
        events: Sequence[Event] = decider.decide(command, state, *others)
        for event in events:
            if type(event) is Rejected:
                self._reject(message, event.reason, event.details)
            else:
                self._record(message, event, undo)
        return events

    def _record(self, message: Incoming, event: Event, undo: list[_Before]) -> None:
        kind = type(event)
        aggregate = self._routing.aggregate_of[kind]
        key, identity = self._routing.key_of[kind](event), aggregate.id_of(event)
        loaded = self.aggregates.get(aggregate, identity)
        undo.append((loaded, loaded.version, loaded.state, loaded.changed))
        loaded.state = aggregate.evolve(loaded.state, event)
        loaded.version += 1
        loaded.changed = True
        row = self._outgoing.event(message, event, identity, key, loaded.version)
        follows = consequences(self._routing, event, row)
        if follows.asks_for_effect:
            self.asking.append(len(self.rows))
        self.rows.append(row)
        if follows.timer is not None:
            self.rows.append(follows.timer)

    def _note(self, outcome: str, message: Incoming) -> None:
        """Log a message that came to no decision."""
        if self._debug:
            _log.debug(outcome, **message.ids, heard=message.type)

    def _reject(self, message: Incoming, reason: str, details: tuple[Detail, ...]) -> None:
        self.rows.append(self._outgoing.rejection(message, reason, details))
        _log.info("rejected", command=message.type, **message.ids, reason=reason)

    def _report_reused_id(self, message: Incoming, delivery: Delivery) -> None:
        _log.error("known id, other content", **message.ids, type=message.type)
        if message.stream == COMMANDS:
            problem = f"{message.message_id} was used for other content before; use a new id"
            self._reject(message, MESSAGE_ID_REUSED, (Detail(path=MSG_ID, message=problem),))
        else:
            self.rows.append(
                self._outgoing.dead_letter(
                    message, delivery, f"{message.message_id} was decided before with other content"
                )
            )

    def _prefetch(self, messages: Sequence[Incoming]) -> None:
        """Load the aggregates that commands name in one query, and those that states name in a second."""
        named: dict[str, Aggregate] = {}
        by_state: list[tuple[Command, str, Deciding]] = []
        deciders = self._routing.deciders
        for message in messages:
            if not isinstance(message.handling, Decide):
                continue
            for command in message.handling.commands:
                with contextlib.suppress(Exception):  # Prefetch only; `_try` meets the same error and handles it.
                    deciding = deciders[type(command)]
                    identity = deciding.id_of(command)
                    named[identity] = deciding.decider.aggregate
                    for kind, keys in deciding.keys_known:
                        named |= {kind.id_from(asked): kind for asked in keys(command)}
                    if deciding.keys_in_state:
                        by_state.append((command, identity, deciding))
        self.aggregates.prefetch(named)
        if by_state:
            self.aggregates.prefetch(self._named_by_states(by_state))

    def _named_by_states(self, decisions: Sequence[tuple[Command, str, Deciding]]) -> dict[str, Aggregate]:
        named: dict[str, Aggregate] = {}
        for command, identity, deciding in decisions:
            state = self.aggregates.get(deciding.decider.aggregate, identity).state
            with contextlib.suppress(Exception):
                for kind, keys_in in deciding.keys_in_state:
                    named |= {kind.id_from(asked): kind for asked in keys_in(command, state)}
        return named
