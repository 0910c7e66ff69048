"""Turns a delivered message into commands: from the subject to the type, to the Struct, to the policies.

Pure: nothing here waits or writes, and nothing raises. A malformed command is refused; a malformed event, and one on
which a policy raises, is poison.
"""

import traceback
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from shared.context import Command, Context, Decider, Detail, Effect, Event, KeysInState, KeysKnown, Timer
from shared.endpoint import Endpoint
from shared.engine.decide.headers import MalformedHeaderError, checked, correlation_in, depth_in, id_in
from shared.engine.decide.incoming import IGNORE, Asker, Decide, Handling, Incoming, Poison, Refuse, Source
from shared.engine.decide.tracing import NOT_TRACING, Tracing
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, ParkedVerdict
from shared.upcaster import EventDecoder
from shared.wire.bodies import BodyDecoder, MalformedBodyError
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

FRAMES_KEPT: Final = 6
TRACEBACK_LENGTH_AT_MOST: Final = 8_000
"""The end of a longer traceback is kept, because the end names the error."""

UNKEYED: Final = "unkeyed"
"""The key under which the engine answers a command that has no proper key."""

_encoder = msgspec.json.Encoder()

Route: TypeAlias = tuple[BodyDecoder[Any], Callable[[Any], Sequence[Command]], EventDecoder | None]


class Deciding(NamedTuple):
    """The decider of a command, with all that a batch asks it for every command."""

    decider: Decider
    id_of: Callable[[Any], str]
    keys_known: KeysKnown
    keys_in_state: KeysInState


class Routing:
    """A context as lookup tables: which decoder and policies a message has, and what each event leads to.

    `deciders` goes by the type of a command, and `states`, which decode snapshots, by the name of an aggregate.
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
        self.states = {aggregate.name: msgspec.json.Decoder(aggregate.state) for aggregate in context.aggregates}
        self.aggregate_of = {event: aggregate for aggregate in context.aggregates for event in aggregate.events}
        self.key_of = {event: attrgetter(aggregate.key) for event, aggregate in self.aggregate_of.items()}
        self.effects: dict[type[Struct], Effect] = {effect.asked_by: effect for effect in context.effects}
        self.timers: dict[type[Struct], Timer] = {timer.armed_by: timer for timer in context.timers}
        self.event_types = {event.__name__: event for event in context.publishes}
        self._routes: dict[tuple[str, str, str], Route] = {}
        for command in context.accepts:
            self._routes["cmd", context.name, command.__name__] = (BodyDecoder(command, strict=True), _itself, None)
        for timer in context.timers:
            versions = context.decoder_of(timer.armed_by)
            self._routes["due", context.name, timer.name] = (versions.newest, timer.whenever_due, versions.if_any)
        policies: dict[tuple[str, type[Event]], list[Callable[[Any], Sequence[Command]]]] = {}
        for policy in context.policies:
            policies.setdefault((policy.source, policy.event), []).append(policy.whenever)
        for (source, event), of_event in policies.items():
            versions = context.decoder_of(event, "" if source == context.name else source)
            self._routes["evt", source, event.__name__] = (versions.newest, _all_of(of_event), versions.if_any)
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

    def asked(self, endpoint: Endpoint, n: int, key: str, said: Struct, headers: Mapping[str, str]) -> Incoming:
        """A request under an idempotency key; `said` is its body. Raises MalformedHeaderError."""
        command = endpoint.asks(said)
        of_command = getattr(command, self.deciders[type(command)].decider.aggregate.key)
        return Incoming(
            stream="",
            partition=partition_of(of_command, self.partitions),
            key=of_command,
            message_id=key,
            type=type(command).__name__,
            content=content_hash(endpoint.operation.encode() + _encoder.encode(said)),
            correlation_id=correlation_in(headers) or of_command,
            depth=depth_in(headers, CAUSATION_DEPTH_AT_MOST),
            source=Asker(n, endpoint, command),
            handling=Decide((command,)),
            traceparent=headers.get(TRACEPARENT) or self.tracing.begin(key),
        )

    def reacts_to(self, subject: Subject) -> bool:
        """Whether the context has a policy for such an event."""
        return (subject.kind, subject.context, subject.type) in self._routes

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
        correlation_id: str = subject.key
        depth = 0
        handling: Handling
        try:
            if given:
                check_id = check_command_id if stream == COMMANDS else check_message_id
                checked(TIMER_ID if stream == TIMERS else MSG_ID, check_id, given)
            correlation_id = correlation_in(headers) or subject.key
            depth = depth_in(headers, COMMAND_DEPTH_AT_MOST if stream == COMMANDS else CAUSATION_DEPTH_AT_MOST)
            handling = self._handling(subject, delivery)
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

    def _handling(self, subject: Subject, delivery: Delivery) -> Handling:
        """Decode the body and ask the policies. The stream itself refuses commands of an unknown type."""
        route = self._routes.get((subject.kind, subject.context, subject.type))
        if route is None:
            return IGNORE
        decoder, whenever, versions = route
        if versions is not None and versions.is_older(delivery.headers):
            event = versions.decode(delivery.body, key=subject.key, at=delivery.at, headers=delivery.headers)
            return Decide(whenever(event))
        at = NEVER if decoder.at_field is None else delivery.at  # Few types ask for the time, which is slow to make.
        return Decide(whenever(decoder.decode(delivery.body, key=subject.key, at=at)))


def current_traceback() -> str:
    """The exception that is being handled, with its last frames, as text that SQLite and JSON can hold."""
    text = traceback.format_exc(limit=-FRAMES_KEPT)[-TRACEBACK_LENGTH_AT_MOST:]
    return text.encode(errors="backslashreplace").decode()


def _malformed(stream: str, path: str, problem: str) -> Refuse | Poison:
    if stream == COMMANDS:
        return Refuse("malformed", (Detail(path=path, message=problem),))
    return Poison(f"{path}: {problem}")


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


def _itself(command: Command) -> Sequence[Command]:
    return (command,)


def _all_of(policies: Sequence[Callable[[Any], Sequence[Command]]]) -> Callable[[Any], Sequence[Command]]:
    if len(policies) == 1:
        return policies[0]
    return lambda event: [command for policy in policies for command in policy(event)]
