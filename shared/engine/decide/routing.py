"""From a delivered message to commands: subject to type to Struct to policy. Pure; nothing here waits or writes."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeVar

from msgspec import Struct

from shared.context import Command, Context, Decider, Detail, Effect, Event, Timer
from shared.engine.decide.headers import MalformedHeaderError, checked, correlation_in, depth_in
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, ParkedVerdict
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
    MessageId,
    Subject,
    check_command_id,
    check_message_id,
    content_hash,
    parse_subject,
    place_id,
)
from shared.wire.streams import COMMANDS, TIMERS

T = TypeVar("T")

CALLS_TOLD: Final = 6
REASON_LENGTH_AT_MOST: Final = 8_000
"""Of a longer traceback the end is kept, which names the error."""

UNKEYED: Final = "unkeyed"
"""The key under which a command without a proper key is answered."""


class Refusal(NamedTuple):
    """Why a command is answered with CommandRejected without being put to a decider."""

    reason: str
    details: tuple[Detail, ...]


class Input:
    """What one message comes to: commands to decide, or a refusal, or poison, or nothing at all."""

    __slots__ = (
        "commands", "correlation_id", "delivery", "depth", "effect", "hash", "key", "message", "message_id",
        "parked", "partition", "poison", "refusal", "stream", "type", "whenever",
    )  # fmt: skip

    def __init__(self, stream: str, partition: int, delivery: Delivery | None, message_id: str, key: str) -> None:
        self.stream = stream
        self.partition = partition
        self.delivery = delivery
        self.message_id = message_id
        self.key = key
        self.correlation_id = key
        self.depth = 0
        self.hash = b""
        self.type = ""
        self.message: Any = None
        self.whenever: Callable[[Any], Sequence[Command]] | None = None
        self.commands: Sequence[Command] = ()
        self.refusal: Refusal | None = None
        self.poison: str | None = None
        self.parked: ParkedVerdict | None = None
        """The parked message that this is, when it is tried again."""
        self.effect: EffectRow | None = None
        """The effect that this is the outcome of."""

    @property
    def ignored(self) -> bool:
        """Whether this is an unknown event, or a notice of a vacant partition: nothing to decide or to remember."""
        return self.message is None and self.refusal is None and self.poison is None and self.effect is None


Route = tuple[BodyDecoder[Any], Callable[[Any], Sequence[Command]]]


class Routing:
    """A context compiled for speed: routes by (kind, context, type), and who decides, folds, calls and arms what.

    `deciders` has for each command its decider, and the function that gives the id of the aggregate that it names.
    """

    def __init__(self, context: Context, *, partitions: int) -> None:
        self.context = context
        self.partitions = partitions
        self.deciders: dict[type[Struct], tuple[Decider, Callable[[Any], str]]] = {}
        for decider in context.deciders:
            for command in decider.commands:
                self.deciders[command] = (decider, decider.aggregate.id_of)
        self.aggregate_of = {event: aggregate for aggregate in context.aggregates for event in aggregate.events}
        self.key_of = {event: _field(aggregate.key) for event, aggregate in self.aggregate_of.items()}
        self.effects: dict[type[Struct], Effect] = {effect.asked_by: effect for effect in context.effects}
        self.timers: dict[type[Struct], Timer] = {timer.armed_by: timer for timer in context.timers}
        self.event_types = {event.__name__: event for event in context.publishes}
        self._routes: dict[tuple[str, str, str], Route] = {}
        for command in context.accepts:
            decoder: BodyDecoder[Any] = BodyDecoder(command, strict=True)
            self._routes["cmd", context.name, command.__name__] = (decoder, _as_it_is)
        for timer in context.timers:
            decoder = BodyDecoder(timer.armed_by, strict=False)
            self._routes["due", context.name, timer.name] = (decoder, timer.whenever_due)
        heard: dict[tuple[str, type[Event]], list[Callable[[Any], Sequence[Command]]]] = {}
        for policy in context.policies:
            heard.setdefault((policy.source, policy.event), []).append(policy.whenever)
        for (source, event), policies in heard.items():
            decoder = BodyDecoder(event, strict=False)
            self._routes["evt", source, event.__name__] = (decoder, _all_of(policies))
        self._outcomes = {event.__name__: BodyDecoder(event, strict=False) for event in self.effects}

    def decode(self, stream: str, partition: int, delivery: Delivery) -> Input:
        """The delivery as an input with its message; never raises: bad input is a refusal, a broken event is poison."""
        headers = delivery.headers
        try:
            subject = parse_subject(delivery.subject)
        except (MalformedSubjectError, MalformedKeyError) as error:
            return self._unkeyed(stream, partition, delivery, str(error))
        given = id_in(stream, headers)
        input_ = Input(stream, partition, delivery, given or _place_id(stream, delivery), subject.key)
        input_.type = subject.type
        input_.hash = content_hash(delivery.body)
        try:
            if given:
                check_id = check_command_id if stream == COMMANDS else check_message_id
                checked(TIMER_ID if stream == TIMERS else MSG_ID, check_id, given)
            input_.correlation_id = correlation_in(headers) or subject.key
            input_.depth = depth_in(headers, COMMAND_DEPTH_AT_MOST if stream == COMMANDS else CAUSATION_DEPTH_AT_MOST)
            route = self._routes.get((subject.kind, subject.context, subject.type))
            if route is not None:  # An unknown event is ignored; an unknown command is refused by the stream already.
                decoder, input_.whenever = route
                at = NEVER if decoder.at_field is None else delivery.at  # Only some ask for it, and it takes a while.
                input_.message = decoder.decode(delivery.body, key=subject.key, at=at)
        except (MalformedBodyError, MalformedHeaderError) as error:
            self._refuse(input_, delivery, error.path, error.problem)
        except Exception:
            input_.poison = current_traceback()
        return input_

    def decode_parked(self, waiting: ParkedVerdict) -> Input:
        """A parked message as the input it was when it came."""
        row = waiting.row
        delivery = Delivery(
            sequence=row.seq,
            consumer_sequence=0,
            pending=0,
            at_ns=row.at_ns,
            subject=row.subject,
            headers=row.headers,
            body=row.body,
            reply="",
        )
        input_ = self.decode(row.stream, row.partition, delivery)
        input_.message_id = row.message_id
        input_.parked = waiting
        return input_

    def react(self, input_: Input) -> None:
        """Let the policies turn the message into commands; a policy that raises makes the message poison."""
        if input_.message is None or input_.whenever is None:
            return
        try:
            input_.commands = input_.whenever(input_.message)
        except Exception:
            input_.poison = current_traceback()

    def hears(self, subject: Subject) -> bool:
        """Whether a policy of the context reacts to such an event."""
        return (subject.kind, subject.context, subject.type) in self._routes

    def event(self, type_name: str, body: bytes, key: str, at: datetime) -> Any:
        """One of the context's own events that ask for an effect, from its journal body."""
        return self._outcomes[type_name].decode(body, key=key, at=at)

    def outcome(self, row: EffectRow, command: Command) -> Input:
        """The input that the outcome of an effect is; what it leads to is caused by the event that asked."""
        input_ = Input("", row.partition, None, row.event_id, row.key)
        input_.effect = row
        input_.type = row.type
        input_.correlation_id = row.headers[CORRELATION_ID]
        input_.depth = int(row.headers[CAUSATION_DEPTH])
        input_.commands = (command,)
        return input_

    def _refuse(self, input_: Input, delivery: Delivery, path: str, problem: str) -> None:
        if path in (MSG_ID, TIMER_ID):
            input_.message_id = _place_id(input_.stream, delivery)
        if input_.stream == COMMANDS:
            input_.refusal = Refusal("malformed", (Detail(path=path, message=problem),))
        else:
            input_.poison = f"{path}: {problem}"

    def _unkeyed(self, stream: str, partition: int, delivery: Delivery, problem: str) -> Input:
        input_ = Input(stream, partition, delivery, _place_id(stream, delivery), UNKEYED)
        input_.hash = content_hash(delivery.body)
        tokens = delivery.subject.split(".", 3)
        input_.type = tokens[2] if len(tokens) > 2 else "Unknown"
        self._refuse(input_, delivery, "subject", problem)
        return input_


def _place_id(stream: str, delivery: Delivery) -> MessageId:
    return place_id(stream, delivery.sequence, delivery.at)


def id_in(stream: str, headers: Mapping[str, str]) -> str | None:
    """The id a message says it has; the server takes a timer's `Nats-Msg-Id` away when it fires."""
    return headers.get(TIMER_ID) if stream == TIMERS else headers.get(MSG_ID)


def current_traceback() -> str:
    """The exception in hand with the calls that led to it, as much as can be kept of it."""
    said = traceback.format_exc(limit=-CALLS_TOLD)[-REASON_LENGTH_AT_MOST:]
    return said.encode(errors="backslashreplace").decode()


def _field(name: str) -> Callable[[Any], str]:
    return lambda message: getattr(message, name)


def _as_it_is(command: Command) -> Sequence[Command]:
    return (command,)


def _all_of(policies: Sequence[Callable[[Any], Sequence[Command]]]) -> Callable[[Any], Sequence[Command]]:
    if len(policies) == 1:
        return policies[0]
    return lambda event: [command for policy in policies for command in policy(event)]
