"""Turns a delivered message into commands: from the subject to the type, to the Struct, to the policies.

Pure: nothing here waits or writes, and nothing raises. A malformed command is refused; a malformed event, and one on
which a policy raises, is poison.
"""

from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from shared.context import Command, Context, Decider, Detail, Effect, KeysInState, KeysKnown, Timer
from shared.endpoint import Endpoint
from shared.engine.route.event_form import StrangerError
from shared.engine.route.headers import MalformedHeaderError, check_sent, checked, correlation_in, depth_in, id_in
from shared.engine.route.incoming import (
    Asker,
    Decide,
    Incoming,
    Poison,
    Refuse,
    Source,
    Stranger,
)
from shared.engine.route.routes import Routes, name_of
from shared.engine.route.tracebacks import current_traceback
from shared.engine.route.tracing import NOT_TRACING, Tracing
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, ParkedRow, ParkedVerdict
from shared.wire.bodies import MalformedBodyError, json_decoder
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_DEPTH_AT_MOST,
    COMMAND_DEPTH_AT_MOST,
    CORRELATION_ID,
    MSG_ID,
    NEVER,
    TIMER_ID,
    MalformedKeyError,
    MalformedSubjectError,
    Subject,
    check_command_id,
    check_message_id,
    content_hash,
    fallback_id,
    parse_subject,
    partition_of,
)
from shared.wire.streams import COMMANDS, TIMERS
from shared.wire.trace_context import TRACEPARENT

UNKEYED: Final = "unkeyed"
"""The key under which the engine answers a command that has no proper key."""

_encoder = msgspec.json.Encoder()


class Deciding(NamedTuple):
    """The decider of a command and its functions that name the aggregates to load, cached: every command needs them."""

    decider: Decider
    id_of: Callable[[Any], str]
    keys_known: KeysKnown
    keys_in_state: KeysInState


class Routing:
    """A context as lookup tables: which decoder and policies a message has, and what each event leads to.

    `deciders` is keyed by the type of a command, and `states`, which decode snapshots, by the name of an aggregate.
    """

    def __init__(
        self, context: Context, *, partitions: int, records_inputs: bool = False, tracing: Tracing = NOT_TRACING
    ) -> None:
        self.context = context
        self.records_inputs = records_inputs
        self.partitions = partitions
        self.tracing = tracing
        self.deciders: dict[type[Struct], Deciding] = {}
        for decider in context.deciders:
            deciding = Deciding(decider, decider.aggregate.id_of, decider.keys_known, decider.keys_in_state)
            self.deciders |= dict.fromkeys(decider.commands, deciding)
        self.states = {aggregate.name: json_decoder(aggregate.state) for aggregate in context.aggregates}
        self.aggregate_of = {event: aggregate for aggregate in context.aggregates for event in aggregate.events}
        self.key_of = {event: attrgetter(aggregate.key) for event, aggregate in self.aggregate_of.items()}
        self.effects: dict[type[Struct], Effect] = {effect.asked_by: effect for effect in context.effects}
        self.timers: dict[type[Struct], Timer] = {timer.armed_by: timer for timer in context.timers}
        self.event_types = {event.__name__: event for event in context.publishes}
        self._routes = Routes(context, partitions)
        self.endpoints = {endpoint.subject: endpoint for endpoint in context.endpoints}
        self._asking = {event.__name__: context.decoder_of(event) for event in self.effects}

    def delivered(self, stream: str, partition: int, delivery: Delivery) -> Incoming:
        """A message that a stream delivers."""
        return self._incoming(stream, partition, delivery, delivery)

    def parked(self, waiting: ParkedVerdict) -> Incoming:
        """A parked message, read again as if it were delivered now."""
        row = waiting.row
        delivery = Delivery(sequence=row.seq, at_ns=row.at_ns, subject=row.subject, headers=row.headers, body=row.body)
        return self._incoming(row.stream, row.partition, delivery, waiting)._replace(message_id=row.message_id)

    def outcome(self, row: EffectRow, command: Command) -> Incoming:
        """The outcome of an effect. The event that asked for the effect is its cause."""
        return Incoming(
            stream="",
            partition=row.partition,
            key=row.key,
            message_id=row.event_id,
            type=row.type,
            content=b"",
            correlation_id=row.headers[CORRELATION_ID],
            depth=int(row.headers[CAUSATION_DEPTH]),
            source=row,
            handling=Decide((command,)),
            traceparent=row.headers.get(TRACEPARENT, ""),
        )

    def asked(self, endpoint: Endpoint, n: int, key: str, body: Struct, headers: Mapping[str, str]) -> Incoming:
        """A request under an idempotency key; raises MalformedHeaderError."""
        command = endpoint.asks(body)
        of_command = getattr(command, self.deciders[type(command)].decider.aggregate.key)
        return Incoming(
            stream="",
            partition=partition_of(of_command, self.partitions),
            key=of_command,
            message_id=key,
            type=type(command).__name__,
            content=content_hash(endpoint.operation.encode() + _encoder.encode(body)),
            correlation_id=correlation_in(headers) or of_command,
            depth=depth_in(headers, CAUSATION_DEPTH_AT_MOST),
            source=Asker(n, endpoint, command),
            handling=Decide((command,)),
            traceparent=headers.get(TRACEPARENT) or ("" if CORRELATION_ID in headers else self.tracing.begin(key)),
        )

    def reacts_to(self, subject: Subject) -> bool:
        """Whether the context has a policy for such an event."""
        return subject in self._routes

    def given_by(self, message: Incoming) -> str:
        """The names of the functions (policies, timer, call) that gave the commands of a message, or their sender."""
        match message.source:
            case EffectRow(type=kind):
                return name_of(self.effects[self.event_types[kind]].call)
            case Delivery(subject=subject) | ParkedVerdict(row=ParkedRow(subject=subject)):
                return self._routes.functions_of(parse_subject(subject)) or "a client"
            case Asker():
                return "a request"

    def asking_event(self, row: EffectRow) -> Any:
        """One of the context's own events that ask for an effect."""
        return self._asking[row.type].decode(row.body, key=row.key, at=NEVER, headers=row.headers)

    def _incoming(self, stream: str, partition: int, delivery: Delivery, source: Source) -> Incoming:
        headers = delivery.headers
        try:
            subject = parse_subject(delivery.subject)
        except (MalformedSubjectError, MalformedKeyError) as error:
            return _without_key(stream, partition, delivery, source, str(error))
        given = id_in(stream, headers)
        message_id = given or _fallback_id(stream, delivery)
        correlation_id, depth = str(subject.key), 0
        try:
            if given:
                check_id = check_command_id if stream == COMMANDS else check_message_id
                checked(TIMER_ID if stream == TIMERS else MSG_ID, check_id, given)
            if stream == COMMANDS:
                check_sent(headers)
            self._routes.check_form(subject, headers)
            correlation_id = correlation_in(headers) or subject.key
            depth = depth_in(headers, COMMAND_DEPTH_AT_MOST if stream == COMMANDS else CAUSATION_DEPTH_AT_MOST)
            handling = self._routes.handling(subject, delivery)
        except StrangerError as error:
            handling = Stranger(str(error))
        except (MalformedBodyError, MalformedHeaderError) as error:
            if error.path in (MSG_ID, TIMER_ID):
                message_id = _fallback_id(stream, delivery)
            handling = _malformed(stream, error.path, error.problem)
        except Exception:
            handling = Poison(current_traceback())
        return Incoming(
            stream,
            partition,
            subject.key,
            message_id,
            subject.type,
            content_hash(delivery.body),
            correlation_id,
            depth,
            source,
            handling,
            headers.get(TRACEPARENT) or (self.tracing.begin(message_id) if stream == COMMANDS else ""),
        )


def _malformed(stream: str, path: str, problem: str) -> Refuse | Poison | Stranger:
    if stream == COMMANDS:
        return Refuse("malformed", (Detail(path=path, message=problem),))
    return Stranger(f"{path}: {problem}") if path in (MSG_ID, TIMER_ID) else Poison(f"{path}: {problem}")


def _without_key(stream: str, partition: int, delivery: Delivery, source: Source, problem: str) -> Incoming:
    tokens = delivery.subject.split(".", 3)
    return Incoming(
        stream=stream,
        partition=partition,
        key=UNKEYED,
        message_id=_fallback_id(stream, delivery),
        type=tokens[2] if len(tokens) > 2 else "Unknown",
        content=content_hash(delivery.body),
        correlation_id=UNKEYED,
        depth=0,
        source=source,
        handling=_malformed(stream, "subject", problem),
    )


def _fallback_id(stream: str, delivery: Delivery) -> str:
    return fallback_id(stream, delivery.sequence, delivery.at)
