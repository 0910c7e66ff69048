"""Recomputes the decisions from the log (I13) and the databases from EVENTS (I17), and compares."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import msgspec
from msgspec import Struct

from shared import catalog
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.context import Aggregate, Asked, Context, Effect, Rejected, UnknownOutcomeError
from shared.engine.route.incoming import Decide
from shared.engine.route.routing import Routing
from shared.ports.broker import Broker, Delivery, Stored
from shared.ports.clock import since_1970_ns
from shared.repair.rebuild import rebuild
from shared.wire.bodies import BodyDecoder
from shared.wire.engine_events import MessageParked, MessageUnparked
from shared.wire.messages import CAUSATION_HASH, CAUSATION_ID, NEVER, OCCURRED_AT, split_edition
from shared.wire.streams import EVENTS
from tests.chaos.databases import Database, Row, read_database
from tests.chaos.evidence import Evidence, parsed
from tests.chaos.finding import Finding
from tests.chaos.replay import Replay

_encode = msgspec.json.Encoder().encode

ABOUT_PARKED = {MessageParked.__name__, MessageUnparked.__name__}

LoadedAggregates = dict[str, tuple[int, Any]]


class _AlsoRead(Mapping[Asked, Any]):
    """The other aggregates that a decision reads."""

    def __init__(self, states: LoadedAggregates, aggregate: Aggregate) -> None:
        self._states, self._aggregate = states, aggregate

    def __getitem__(self, asked: Asked) -> Any:
        return _state(self._states, self._aggregate, self._aggregate.id_from(asked))

    def __iter__(self) -> Iterator[Asked]:
        raise TypeError("ask for a key")

    def __len__(self) -> int:
        raise TypeError("ask for a key")


class _Recorded:
    """The outside as it has answered: the bank's books under the same key, and nobody else."""

    def __init__(self, evidence: Evidence, idempotency_key: str) -> None:
        self.idempotency_key = idempotency_key
        self.attempt = 1
        self.now = NEVER
        self._answers = evidence.books.answers

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        """The recorded answer of the bank."""
        del body, headers
        given = self._answers.get(self.idempotency_key)
        if given is None or not subject.endswith(given.operation):
            raise UnknownOutcomeError(f"the bank was never asked {subject} under {self.idempotency_key}")
        return {}, given.answer


class Recomputation:
    """One context decided again, from its journal and the messages that it has heard."""

    def __init__(self, evidence: Evidence, name: str, context: Context) -> None:
        self._evidence = evidence
        self._name = name
        self._context = context
        self._database = evidence.databases[name]
        self._reactions = Routing(context, partitions=evidence.partitions)
        self._heard: dict[str, Stored] = {}
        for fact in evidence.facts():
            if self._reactions.reacts_to(parsed(fact.stored.subject)):
                self._heard.setdefault(fact.id, fact.stored)
        self._own = {split_edition(row.event_id)[0]: row for row in self._database.journal if row.kind == "evt"}
        self._timers = {timer.name: timer for timer in context.timers}
        self._decoders = {kind.__name__: BodyDecoder[Any](kind, strict=False) for kind in self._reactions.aggregate_of}
        self._states: LoadedAggregates = {}

    async def findings(self) -> list[Finding]:
        """Compare every decision with its recomputation. Folds the states, which hold every fact afterwards."""
        found: list[Finding] = []
        for group in self._groups():
            found += await self._differences(group)
            for row in group:
                try:
                    self._fold(row)
                except Exception as error:
                    return [*found, Finding(invariant="I13", where=row.event_id, what=f"cannot be: {error!r}")]
        return [*found, *self._snapshots(), *self._unmoved()]

    def _groups(self) -> Iterator[list[Row]]:
        """The events that one message led to. After a rebuild, events of other keys stand between them."""
        groups: dict[str, list[Row]] = {}
        for row in self._own.values():
            if row.type not in ABOUT_PARKED:  # The engine publishes these, no decider.
                groups.setdefault(row.headers[CAUSATION_ID], []).append(row)
        yield from groups.values()

    async def _differences(self, group: Sequence[Row]) -> list[Finding]:
        cause = group[0].headers[CAUSATION_ID]
        if CAUSATION_HASH in group[0].headers:
            return []  # A command leaves its stream, so it cannot be put to the decider again.
        try:
            commands, timeless = await self._commands(cause, group)
        except Exception as error:
            return [Finding(invariant="I13", where=group[0].event_id, what=f"its cause says nothing: {error!r}")]
        decided = [_told(event, timeless) for event in self._decide(commands)]
        written = [self._read(row, timeless) for row in group]
        if decided == written:
            return []
        what = f"of {cause} {self._name} would decide {decided}, and its journal has {written}"
        return [Finding(invariant="I13", where=group[0].event_id, what=what)]

    async def _commands(self, cause: str, group: Sequence[Row]) -> tuple[Sequence[Any], bool]:
        """The commands that a cause leads to, and whether the times in what comes of them cannot be known any more."""
        armed_by, _, timer = cause.rpartition("/")
        if cause in self._heard:
            stored = self._heard[cause]
            published_again = stored.at > datetime.fromisoformat(group[0].headers[OCCURRED_AT])
            return self._commands_of(stored), published_again
        if armed_by in self._own and timer in self._timers:
            return self._timers[timer].whenever_due(self._decoded(self._own[armed_by])), False
        asked = self._own[cause]
        effect: Effect = self._reactions.effects[self._reactions.event_types[asked.type]]
        outcome = await effect.call(self._decoded(asked), _Recorded(self._evidence, cause))
        return (outcome,), True

    def _commands_of(self, stored: Stored) -> Sequence[Any]:
        at_ns = since_1970_ns(stored.at)
        delivery = Delivery(
            sequence=stored.sequence,
            consumer_sequence=0,
            pending=0,
            at_ns=at_ns,
            subject=stored.subject,
            headers=stored.headers,
            body=stored.body,
            reply="",
        )
        message = self._reactions.delivered(EVENTS, parsed(stored.subject).partition, delivery)
        assert isinstance(message.handling, Decide), message.handling
        return message.handling.commands

    def _decide(self, commands: Sequence[Any]) -> list[Any]:
        """Decide commands in sequence, each on the changes of those before it; `_states` does not change."""
        kept = dict(self._states)
        decided: list[Any] = []
        for command in commands:
            decider, id_of, _, _ = self._reactions.deciders[type(command)]
            state = _state(self._states, decider.aggregate, id_of(command))
            others = [_AlsoRead(self._states, reads.aggregate) for reads in decider.also_reads]
            for event in decider.decide(command, state, *others):
                decided.append(event)
                if not isinstance(event, Rejected):
                    of = self._reactions.aggregate_of[type(event)]
                    name = of.id_of(event)
                    version, held = self._states.get(name, (0, of.state()))
                    self._states[name] = (version + 1, of.evolve(held, event))
        self._states = kept
        return decided

    def _fold(self, row: Row) -> None:
        kind = self._reactions.event_types.get(row.type)
        if kind is not None:
            aggregate = self._reactions.aggregate_of[kind]
            _, state = self._states.get(row.aggregate, (0, aggregate.state()))
            self._states[row.aggregate] = (row.version, aggregate.evolve(state, self._decoded(row)))

    def _snapshots(self) -> list[Finding]:
        folded = {name: (version, _encode(state).decode()) for name, (version, state) in self._states.items()}
        return [
            Finding(invariant="I13", where=f"{self._name} {name}", what="its snapshot is not the fold of its facts")
            for name in folded.keys() | self._database.aggregates.keys()
            if folded.get(name) != self._database.aggregates.get(name)
        ]

    def _unmoved(self) -> list[Finding]:
        """Find messages that were handled and would still change something."""
        found = []
        for message_id, stored in self._heard.items():
            try:
                decided = self._decide(self._commands_of(stored))
            except Exception as error:
                what = f"{self._name} cannot read it, or decide on it: {error!r}"
                found.append(Finding(invariant="I13", where=message_id, what=what))
                continue
            moved = [event for event in decided if not isinstance(event, Rejected)]
            if message_id in self._database.inbox and moved:
                what = f"{self._name} has heard it, and it would still lead to {moved}"
                found.append(Finding(invariant="I13", where=message_id, what=what))
        return found

    def _decoded(self, row: Row) -> Any:
        return self._decoders[row.type].decode(row.body, key=row.key, at=NEVER)

    def _read(self, row: Row, timeless: bool) -> tuple[str, Any]:
        return _told(self._decoded(row), timeless) if row.type in self._decoders else (row.type, None)


async def decisions_come_out_again(evidence: Evidence) -> list[Finding]:
    """I13: `decide` gives the journaled events again, and every event that was heard had its effect."""
    with tempfile.TemporaryDirectory() as directory:  # Letters that are written again go there.
        of_contexts = {**evidence.settings.of_contexts, "mail_dir": Path(directory)}
        settings = msgspec.structs.replace(evidence.settings, of_contexts=of_contexts)
        found: list[Finding] = []
        for name, context in catalog.contexts(settings).items():
            found += await Recomputation(evidence, name, context).findings()
        return found


async def databases_come_out_again(evidence: Evidence) -> list[Finding]:
    """I17: a rebuild of each context from EVENTS gives the same states, byte for byte, and the same journal."""
    found: list[Finding] = []
    broker = cast(Broker, Replay(evidence))
    with tempfile.TemporaryDirectory() as directory:
        for name, context in evidence.contexts.items():
            try:
                await rebuild(context, broker, SqliteDatabases(Path(directory)), partitions=evidence.partitions)
            except Exception as error:
                found.append(Finding(invariant="I17", where=name, what=f"cannot be rebuilt: {error!r}"))
                continue
            rebuilt = read_database(Path(directory) / f"{name}.db")
            found += _rebuilt_otherwise(name, evidence.databases[name], rebuilt)
    return found


def _rebuilt_otherwise(name: str, live: Database, rebuilt: Database) -> Iterator[Finding]:
    def finding(where: str, what: str) -> Finding:
        return Finding(invariant="I17", where=f"{name} {where}", what=what)

    for aggregate in live.aggregates.keys() | rebuilt.aggregates.keys():
        if live.aggregates.get(aggregate) != rebuilt.aggregates.get(aggregate):
            yield finding(aggregate, "is rebuilt otherwise")
    rows, again = _journal(live), _journal(rebuilt)
    for event_id in rows.keys() | again.keys():
        if rows.get(event_id) != again.get(event_id):
            yield finding(event_id, f"is {rows.get(event_id)}, and is rebuilt as {again.get(event_id)}")
    for message_id, content in rebuilt.inbox.items():
        if live.inbox.get(message_id) != content:
            yield finding(message_id, "was not heard, or otherwise")
    for what, before, after in (("parked", live.parked, rebuilt.parked), ("skipped", live.skipped, rebuilt.skipped)):
        if sorted(before) != sorted(after):  # Between keys, the order of the stream is not the journal's.
            yield finding(what, f"messages are {before}, and are rebuilt as {after}")
    # More may be asked again than is open: what an outcome had no event of is not in the stream, and is quiet again.
    for event_id in set(live.effects) - set(rebuilt.effects):
        yield finding(event_id, "is asked for, and forgotten by a rebuild")


def _journal(database: Database) -> dict[str, tuple[Any, ...]]:
    """The contents of the rows without dead letters, whose numbers a rebuild takes from the stream."""
    return {
        row.event_id: (row.aggregate, row.version, row.subject, row.type, row.headers, row.body, row.partition)
        for row in database.journal
        if row.kind != "dlq"
    }


def _state(states: LoadedAggregates, aggregate: Aggregate, identity: str) -> Any:
    """The aggregate's state, which is that of an unborn one when nothing was said of it."""
    return states.get(identity, (0, aggregate.state()))[1]


def _told(event: Struct, timeless: bool) -> tuple[str, Any]:
    """The type and the fields of an event; `timeless` leaves out the times, which came from a clock."""
    if isinstance(event, Rejected):
        return "CommandRejected", None
    fields = msgspec.structs.asdict(event)
    if timeless:
        fields = {name: value for name, value in fields.items() if not name.endswith("_at")}
    return type(event).__name__, fields
