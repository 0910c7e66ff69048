"""Commands as a client writes, sends and follows them: bare JSON in, a PubAck and the answering events out."""

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import anyio
import msgspec
from msgspec import Struct

from shared.config.spelling import did_you_mean
from shared.context import Context, Service
from shared.ports.broker import Broker, BrokerRefusedError, BrokerUnavailableError, Outgoing, Published, Stored
from shared.send.fields import missing_from
from shared.streams.apply import STREAM_NOT_FOUND
from shared.wire.bodies import BodyDecoder, MalformedBodyError
from shared.wire.engine_events import MessageParked
from shared.wire.messages import (
    CAUSATION_HASH,
    CAUSATION_ID,
    MSG_ID,
    NEVER,
    check_command_id,
    command_subject,
    content_hash,
    parse_subject,
)
from shared.wire.streams import COMMANDS, EVENTS

POLL_S: Final = 0.025
SETTLED_AFTER_S: Final = 1.0
"""A command that has been decided has left its stream; its events are in theirs within so long."""
ITEMS_AT_MOST: Final = 1000

_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,4})\]")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,4}\])*")


class ComposeError(ValueError):
    """The command cannot be written like this; the text says what to mend."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A command that the stream has. `id` is what its events name as their cause; `since` is where they can begin."""

    id: str
    subject: str
    body: bytes
    published: Published
    since: int

    @property
    def hash(self) -> str:
        """What its events say of its content."""
        return content_hash(self.body).hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a command: `quiet` was decided without an event, `none` was not heard of in time."""

    kind: Literal["answered", "rejected", "quiet", "none"]
    events: tuple[Stored, ...] = ()


def find_command(name: str, contexts: Mapping[str, Context | Service]) -> tuple[str, type[Struct]]:
    """The context and the type of `CONTEXT.COMMAND`; raises ComposeError with what was probably meant."""
    known = {
        f"{context.name}.{command.__name__}": (context.name, command)
        for context in contexts.values()
        if isinstance(context, Context)
        for command in context.accepts
    }
    if name not in known:
        fuller = next((full for full in known if full.endswith(f".{name}")), name)
        meant = did_you_mean(fuller, known) or f"; there are {', '.join(known)}"
        raise ComposeError(f"there is no command {name!r}{meant}")
    return known[name]


def compose(command: type[Struct], words: Iterable[str]) -> bytes:
    """The body that words such as `items[0].name=blue` spell; values take the types that the command asks for.

    Raises:
        ComposeError: a word is not `path=value`, names no field, or does not fit.
    """
    given: dict[str, Any] = {}
    for word in words:
        path, equals, value = word.partition("=")
        if not equals or _PATH.fullmatch(path) is None:
            raise ComposeError(f"{word!r} is not field=value, such as size=3 or items[0].name=blue")
        _put(given, path, value)
    try:
        message = msgspec.convert(given, command, strict=False)
    except msgspec.ValidationError as error:
        raise _told(command, given, str(error)) from error
    return json.dumps(_picked(given, msgspec.to_builtins(message), ""), separators=(",", ":")).encode()


def check_body(command: type[Struct], body: bytes, key: str) -> None:
    """Raise ComposeError, naming the path, when the context would refuse this body as malformed."""
    try:
        BodyDecoder(command, strict=True).decode(body, key=key, at=NEVER)
    except MalformedBodyError as error:
        given: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(body)
        raise _told(command, given, str(error)) from error


def _told(command: type[Struct], body: Any, problem: str) -> ComposeError:
    """What is wrong with a body: msgspec's first problem, and every field that is missing."""
    missing = missing_from(command, body)
    told = [f"lacks {', '.join(missing)} (--help lists all fields)"] if missing else []
    if not missing or "missing required field" not in problem:
        told.append(f"{problem}{_meant(command, problem)}")
    return ComposeError(f"{command.__name__}: {'; '.join(told)}")


def _meant(command: type[Struct], problem: str) -> str:
    unknown = _UNKNOWN.search(problem)
    if unknown is None:
        return ""
    _, parts = msgspec.json.schema_components((command,))
    return did_you_mean(unknown[1], {name for part in parts.values() for name in part.get("properties", {})})


def _put(given: dict[str, Any], path: str, value: str) -> None:
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    place: Any = given
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, int):
            if not isinstance(place, list) or step > len(place) or step >= ITEMS_AT_MOST:
                raise ComposeError(f"{path}: list items are counted from [0] and given in order")
            if step == len(place):
                place.append(None)
        elif not isinstance(place, dict):
            raise ComposeError(f"{path} is said in two ways")
        there = place[step] if isinstance(step, int) else place.get(step)
        if following is None:
            if there is not None:
                raise ComposeError(f"{path} is said twice")
            place[step] = _value(value)
        elif there is None:
            place[step] = [] if isinstance(following, int) else {}
        place = place[step]


def _value(text: str) -> Any:
    """Text, unless it is a JSON object or list: numbers are read by who knows that a number is wanted."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ComposeError(f"{text[:80]!r} is not JSON: {error}") from error


def _picked(given: Any, converted: Any, path: str) -> Any:
    """What was given, in the types of the command; what it only has by default is left out."""
    if isinstance(given, dict):
        for name in given:
            if name not in converted:
                raise ComposeError(f"there is no field {path}{name}{did_you_mean(name, converted)}")
        return {name: _picked(value, converted[name], f"{path}{name}.") for name, value in given.items()}
    if isinstance(given, list):
        return [_picked(value, one, path) for value, one in zip(given, converted, strict=True)]
    return converted


async def send(broker: Broker, context: str, command: str, key: str, body: bytes, message_id: str | None) -> Sent:
    """Publish a command and wait for its PubAck.

    Raises:
        BrokerRefusedError: the stream said no, or (STREAM_NOT_FOUND) there is none that takes the command.
        BrokerUnavailableError: whether it is stored is not known.
    """
    subject = command_subject(context, command, key)
    identity = check_command_id(message_id or f"send-{uuid.uuid4().hex}")
    since = (await broker.stream_info(EVENTS)).last_sequence + 1
    try:
        published = await broker.publish(Outgoing(subject, {MSG_ID: identity}, body))
    except BrokerUnavailableError as error:
        if "no responders" not in str(error):
            raise
        raise BrokerRefusedError(STREAM_NOT_FOUND, f"no stream takes {subject}") from error
    return Sent(
        id=identity,
        subject=subject,
        body=body,
        published=published,
        since=1 if message_id else since,  # An id that was used before may have been answered long since.
    )


async def answer(broker: Broker, sent: Sent, timeout_s: float) -> Answer:
    """What became of a command; waits until there is an event that it caused, or it was decided without one."""
    key = sent.subject.rpartition(".")[2]
    gone_at: float | None = None
    with anyio.move_on_after(timeout_s):
        async for arrived in follow(broker, EVENTS, f"evt.*.*.*.{key}", first=sent.since):
            events = tuple(stored for stored in arrived if _caused_by(stored, sent))
            if events:
                return Answer(kind="rejected" if any(map(is_refusal, events)) else "answered", events=events)
            now = anyio.current_time()
            if gone_at is not None and now - gone_at > SETTLED_AFTER_S:
                return Answer(kind="quiet")
            if gone_at is None and await broker.get(COMMANDS, sent.published.sequence) is None:
                gone_at = now
    return Answer(kind="none")


def _caused_by(stored: Stored, sent: Sent) -> bool:
    """An event of another command under the same id has another hash; what follows from an event has none."""
    return stored.headers.get(CAUSATION_ID) == sent.id and stored.headers.get(CAUSATION_HASH, sent.hash) == sent.hash


def is_refusal(stored: Stored) -> bool:
    """CommandRejected, the context's own word for it (WithdrawalRejected), or that our code failed on the command."""
    kind = parse_subject(stored.subject).type
    return kind.endswith("Rejected") or kind == MessageParked.__name__


async def follow(broker: Broker, stream: str, subject: str, *, first: int) -> AsyncIterator[Sequence[Stored]]:
    """What is stored under a subject from `first` on and what comes: every POLL_S what is new, or nothing."""
    while True:
        last = (await broker.stream_info(stream)).last_sequence
        if last >= first:
            yield [stored async for stored in broker.read(stream, subject, first=first, up_to=last)]
            first = last + 1
        else:
            yield ()
        await anyio.sleep(POLL_S)
