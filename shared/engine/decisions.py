"""The middle of the loop: a batch of inputs against loaded states, in order and in memory, to rows for one commit."""

import contextlib
import traceback
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec
import structlog

from shared.context import Aggregate, Command, CommandRejected, Detail, Event, Rejected, State
from shared.engine.reactions import COMMANDS, Input, Reactions
from shared.engine.store import JournalRow, ParkedRow, Transaction
from shared.messages import (
    CAUSATION_DEPTH,
    CAUSATION_HASH,
    CAUSATION_ID,
    CORRELATION_ID,
    MSG_ID,
    OCCURRED_AT,
    SCHEDULE,
    SCHEDULE_TARGET,
    SCHEDULE_TTL,
    SCHEMA_VERSION,
    TIMER_ID,
    content_hash,
    dead_letter_subject,
    due_subject,
    event_id,
    event_subject,
    partition_of,
    rfc3339,
    timer_subject,
)
from shared.ports import Delivery

DUE_KEPT = "720h"
"""How long a timer that came due waits in TIMERS for a context that is away."""

_log = structlog.get_logger("chorus.decisions")
_encoder = msgspec.json.Encoder()


class Held:
    """An aggregate as this batch has it."""

    __slots__ = ("changed", "state", "version")

    def __init__(self, version: int, state: State) -> None:
        self.version = version
        self.state = state
        self.changed = False


class States:
    """The aggregates a batch touches: prefetched in one query, the rest when asked for."""

    def __init__(self, transaction: Transaction, aggregates: Sequence[Aggregate]) -> None:
        self._transaction = transaction
        self._decoders = {aggregate.name: msgspec.json.Decoder(aggregate.state) for aggregate in aggregates}
        self._held: dict[str, Held] = {}

    def prefetch(self, named: Mapping[str, Aggregate]) -> None:
        """Load these ids in one query; those that do not exist begin as unborn."""
        missing = {name: aggregate for name, aggregate in named.items() if name not in self._held}
        for name, aggregate in missing.items():
            self._held[name] = Held(0, aggregate.state())
        for name, version, state in self._transaction.snapshots(missing):
            self._held[name] = Held(version, self._decoders[missing[name].name].decode(state))

    def held(self, aggregate: Aggregate, key: str) -> Held:
        """One aggregate, loaded now if it was not named beforehand."""
        name = f"{aggregate.name}-{key}"
        held = self._held.get(name)
        if held is None:
            self.prefetch({name: aggregate})
            held = self._held[name]
        return held

    def changed(self) -> list[tuple[str, int, str]]:
        """(id, version, state) of all that this batch changed."""
        return [
            (name, held.version, _encoder.encode(held.state).decode())
            for name, held in self._held.items()
            if held.changed
        ]


class _Beside(Mapping[str, State]):
    """The other aggregates that a decision may read, by key."""

    def __init__(self, states: States, aggregate: Aggregate) -> None:
        self._states = states
        self._aggregate = aggregate

    def __getitem__(self, key: str) -> State:
        return self._states.held(self._aggregate, key).state

    def __iter__(self) -> Iterator[str]:
        raise TypeError("ask for a key: all of them are never loaded")

    def __len__(self) -> int:
        raise TypeError("ask for a key: all of them are never loaded")


class Decisions:
    """What one batch comes to; filled by `decide`, written by the loop in the same transaction."""

    def __init__(self, reactions: Reactions, transaction: Transaction, now: datetime) -> None:
        self._reactions = reactions
        self._context = reactions.context
        self._states = States(transaction, reactions.context.aggregates)
        self._now = rfc3339(now)
        self._transaction = transaction
        self._parked_keys = transaction.parked_keys()
        self._known: dict[str, bytes] = {}
        self.rows: list[JournalRow] = []
        self.asks: list[int] = []
        """Indexes into `rows` of the events that ask for an effect."""
        self.inbox: list[tuple[str, bytes]] = []
        self.parked: list[ParkedRow] = []
        self.settled: list[str] = []
        """Effects whose outcome was decided."""
        self.undecided: list[tuple[Input, str]] = []
        """Outcomes on which our code raised, and what; their effects stay asked for."""
        self.duplicates = 0

    def load(self, inputs: Sequence[Input]) -> Sequence[Input]:
        """One query for known ids, one for every aggregate the commands name; outcomes known before fall away."""
        self._known = self._transaction.known([input_.message_id for input_ in inputs if input_.effect is None])
        asked = [input_.effect.event_id for input_ in inputs if input_.effect is not None]
        if asked:
            open_ = self._transaction.still_asked(asked)
            inputs = [input_ for input_ in inputs if input_.effect is None or input_.effect.event_id in open_]
        self._states.prefetch(self._names(inputs))
        return inputs

    def decide(self, inputs: Sequence[Input]) -> None:
        """Decide the loaded inputs, in order and in memory."""
        known = self._known
        for input_ in inputs:
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
            elif input_.poison is not None and input_.delivery is not None:
                self._park(input_, input_.delivery, input_.poison)
            else:
                self._put(input_)

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
                    decider, key_of = deciders[type(command)]
                    named[f"{decider.aggregate.name}-{key_of(command)}"] = decider.aggregate
                    if decider.beside is not None and decider.names is not None:
                        named |= {f"{decider.beside.name}-{key}": decider.beside for key in decider.names(command)}
        return named

    def _put(self, input_: Input) -> None:
        """Put the input's commands to their deciders; when one raises, nothing of it stays and its key parks."""
        rows, asks = len(self.rows), len(self.asks)
        undo: list[tuple[Held, int, State, bool]] = []
        try:
            for command in input_.commands:
                self._decide(input_, command, undo)
        except Exception:
            for held, version, state, changed in reversed(undo):
                held.version, held.state, held.changed = version, state, changed
            del self.rows[rows:], self.asks[asks:]
            if input_.delivery is None:
                self.undecided.append((input_, traceback.format_exc(limit=-6)))
            else:
                self._park(input_, input_.delivery, traceback.format_exc(limit=-6))
        else:
            if input_.effect is not None:
                self.settled.append(input_.effect.event_id)

    def _decide(self, input_: Input, command: Command, undo: list[tuple[Held, int, State, bool]]) -> None:
        decider, key_of = self._reactions.deciders[type(command)]
        state = self._states.held(decider.aggregate, key_of(command)).state
        if decider.beside is None:
            events = decider.decide(command, state)
        else:
            events = decider.decide(command, state, _Beside(self._states, decider.beside))
        for event in events:
            if type(event) is Rejected:
                self._reject(input_, event.reason, event.details)
            else:
                self._record(input_, event, undo)

    def _record(self, input_: Input, event: Event, undo: list[tuple[Held, int, State, bool]]) -> None:
        kind = type(event)
        aggregate = self._reactions.aggregate_of[kind]
        key = self._reactions.key_of[kind](event)
        held = self._states.held(aggregate, key)
        undo.append((held, held.version, held.state, held.changed))
        held.state = aggregate.evolve(held.state, event)
        held.version += 1
        held.changed = True
        identity = event_id(self._context.name, aggregate.name, key, held.version)
        body = _encoder.encode(event)
        if kind in self._reactions.effects:
            self.asks.append(len(self.rows))
        subject = event_subject(self._context.name, kind.__name__, key)
        self._append(input_, identity, f"{aggregate.name}-{key}", held.version, subject, kind.__name__, key, body)
        timer = self._reactions.timers.get(kind)
        if timer is not None and (at := timer.at(event)) is not None:
            self.rows.append(timer_row(self._context.name, self.rows[-1], timer.name, key, at))

    def _append(
        self, input_: Input, identity: str, aggregate: str, version: int, subject: str, kind: str, key: str, body: bytes
    ) -> None:
        headers = {
            MSG_ID: identity,
            CORRELATION_ID: input_.correlation_id,
            CAUSATION_ID: input_.message_id,
            CAUSATION_DEPTH: str(input_.depth + 1),
            OCCURRED_AT: self._now,
            SCHEMA_VERSION: str(self._context.schema_version),
        }
        if input_.stream == COMMANDS:
            headers[CAUSATION_HASH] = (
                input_.hash.hex()
            )  # A command leaves its stream; the inbox can be rebuilt by this.
        partition = partition_of(key, self._reactions.partitions)
        self.rows.append(JournalRow(identity, aggregate, version, subject, kind, headers, body, partition))

    def _reject(self, input_: Input, reason: str, details: tuple[Detail, ...]) -> None:
        """Answer a command that cannot be obeyed; its id makes the answer's id, so the same refusal is said once."""
        aggregate = f"rejection-{content_hash(input_.message_id.encode() + input_.hash).hex()}"
        event = CommandRejected(command=input_.type, command_id=input_.message_id, reason=reason, details=details)
        subject = event_subject(self._context.name, "CommandRejected", input_.key)
        identity = f"{self._context.name}/{aggregate}@1"
        self._append(input_, identity, aggregate, 1, subject, "CommandRejected", input_.key, _encoder.encode(event))
        _log.info("rejected", command=input_.type, saga=input_.correlation_id, reason=reason)

    def _meet_again(self, input_: Input, delivery: Delivery, seen: bytes) -> None:
        """The same id again: with the same content it has no effect, with other content it is reported, once."""
        conflict = f"{input_.message_id}~{input_.hash.hex()}"
        if seen == input_.hash or self._transaction.known([conflict]):
            self.duplicates += 1
            return
        self._transaction.remember([(conflict, input_.hash)])
        _log.error("other content under a known id", message=input_.message_id, type=input_.type, saga=input_.key)
        if input_.stream == COMMANDS:
            said = Detail(path=MSG_ID, message=f"{input_.message_id} was used for other content before; use a new id")
            self._reject(input_, "message_id_reused", (said,))
        else:
            self._dead_letter(input_, delivery, f"{input_.message_id} came before with other content")

    def _park(self, input_: Input, delivery: Delivery, reason: str) -> None:
        """Let the message wait; the first of its key also goes to DEAD_LETTERS with the reason."""
        if input_.key not in self._parked_keys:
            self._parked_keys.add(input_.key)
            _log.error("parked", key=input_.key, message=input_.message_id, type=input_.type, reason=reason)
            self._dead_letter(input_, delivery, reason)
        headers = _encoder.encode(delivery.headers).decode()
        self.parked.append(
            ParkedRow(
                input_.key, input_.partition, input_.stream, delivery.sequence, delivery.at_ns, input_.message_id,
                delivery.subject, headers, delivery.body, reason,
            )
        )  # fmt: skip

    def _dead_letter(self, input_: Input, delivery: Delivery, reason: str) -> None:
        aggregate = f"dead-{content_hash(input_.message_id.encode() + input_.hash).hex()}"
        letter = {
            "context": self._context.name,
            "message_id": input_.message_id,
            "subject": delivery.subject,
            "stream": input_.stream,
            "sequence": delivery.sequence,
            "reason": reason,
            "body": delivery.body.decode(errors="backslashreplace"),
        }
        kind = input_.type or "Unknown"
        subject = dead_letter_subject(self._context.name, kind, input_.key)
        identity = f"{self._context.name}/{aggregate}@1"
        self._append(input_, identity, aggregate, 1, subject, kind, input_.key, _encoder.encode(letter))


def timer_row(context: str, row: JournalRow, timer: str, key: str, at: datetime) -> JournalRow:
    """The message that sets a timer which the event in `row` arms for `at`; when due, the server publishes its body."""
    identity = f"{row.event_id}/{timer}"
    headers = {
        MSG_ID: identity,
        TIMER_ID: identity,
        CORRELATION_ID: row.headers[CORRELATION_ID],
        CAUSATION_ID: row.event_id,
        CAUSATION_DEPTH: str(int(row.headers[CAUSATION_DEPTH]) + 1),
        SCHEDULE: f"@at {rfc3339(at)}",
        SCHEDULE_TARGET: due_subject(context, timer, key),
        SCHEDULE_TTL: DUE_KEPT,
    }
    subject = timer_subject(context, timer, key)
    return JournalRow(
        identity, f"{timer}/{row.aggregate}", row.version, subject, timer, headers, row.body, row.partition
    )
