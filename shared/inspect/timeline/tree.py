"""Builds the tree of causes of one saga from the headers of its messages."""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from shared.engine.route.event_form import why_strange
from shared.ports.broker import Broker, Stored
from shared.wire.messages import (
    CAUSATION_HASH,
    CAUSATION_ID,
    CORRELATION_ID,
    MSG_ID,
    TIMER_ID,
    MalformedKeyError,
    check_key,
    fallback_id,
    parse_subject,
    split_edition,
)
from shared.wire.streams import EVENTS, TIMERS

STREAMS = ((EVENTS, "evt"), (TIMERS, "due"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One stored message of a saga. `caused_by` may be empty; `commanded` is true when it is the id of a command."""

    id: str
    caused_by: str
    commanded: bool = False
    kind: str
    context: str
    type: str
    key: str
    at: datetime
    stream: str
    sequence: int
    body: bytes = b""
    strange: str = ""
    """Why its context did not publish this event, by its headers; empty for all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """Something that has not happened yet. It follows the message `after`, or none that is known.

    It is an `open` call, an armed `deadline`, or a `wait` for a context or a client. `then` are the events that may
    follow, as `context.Event`.
    """

    kind: Literal["open", "deadline", "wait"]
    context: str
    text: str
    after: str = ""
    then: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Node:
    """A message and its consequences. A node without a `message` is a cause that only its consequences name.

    A node with `ahead` has no message either: it has not happened yet.
    """

    id: str
    message: Message | None = None
    ahead: Ahead | None = None
    copies: int = 0
    leads_to: "list[Node]" = field(default_factory=list)

    @property
    def is_command(self) -> bool:
        """Commands leave their stream once they are decided; their consequences still name them."""
        return self.message is None and any(node.message and node.message.commanded for node in self.leads_to)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A node in reading order; `after` counts from the first message, `took` from its cause, where these are known."""

    node: Node
    depth: int
    last: tuple[bool, ...]
    after: timedelta | None
    took: timedelta | None


def tree(messages: Iterable[Message]) -> tuple[Node, ...]:
    """The trees of causes, each level in the order in which it was stored.

    A cause that is not among the messages becomes a root of its own. A second copy of an id is only counted.
    Ids can be forged: a message that names itself or one of its own consequences as its cause stands as a root.
    """
    nodes: dict[str, Node] = {}
    for message in sorted(messages, key=lambda stored: (stored.at, stored.stream, stored.sequence)):
        node = nodes.setdefault(message.id, Node(id=message.id, message=message))
        node.copies += 1
    latest = _latest_editions(nodes)
    roots: dict[str, Node] = {}
    parents: dict[str, str] = {}
    for node in nodes.values():
        assert node.message is not None
        cause = node.message.caused_by
        if cause.startswith(f"{node.message.context}/"):  # A context names its own events without their edition.
            cause = latest.get(cause, cause)
        if not cause or node.id in _ancestry(cause, parents):
            roots[node.id] = node
        elif cause in nodes:
            parents[node.id] = cause
            nodes[cause].leads_to.append(node)
        else:
            roots.setdefault(cause, Node(id=cause)).leads_to.append(node)
    return tuple(roots.values())


def with_ahead(roots: Iterable[Node], ahead: Iterable[Ahead]) -> tuple[Node, ...]:
    """The trees with the nodes of what lies ahead, each below the message that it follows, or as a root."""
    roots = [*roots]
    nodes = {node.id: node for node in _all(roots)}
    for one in ahead:
        (nodes[one.after].leads_to if one.after in nodes else roots).append(Node(id="", ahead=one))
    return tuple(roots)


def steps(roots: Iterable[Node]) -> Iterator[Step]:
    """Every node of the trees from the top down, with its times."""
    roots = tuple(roots)
    first = min((node.message.at for node in _all(roots) if node.message), default=None)
    waiting: list[tuple[Node, datetime | None, tuple[bool, ...]]] = [(root, None, ()) for root in reversed(roots)]
    while waiting:
        node, caused_at, last = waiting.pop()
        at = node.message.at if node.message else None
        yield Step(
            node=node,
            depth=len(last),
            last=last,
            after=at - first if at and first else None,
            took=at - caused_at if at and caused_at else None,
        )
        for position, child in enumerate(reversed(node.leads_to)):
            waiting.append((child, at, (*last, position == 0)))


async def read_saga(broker: Broker, key: str, *, everything: bool = False) -> list[Message]:
    """Read the events and the due timers of one key.

    With `everything`, also read events of other keys that correlate with this key. That reads the whole log from the
    first message of the saga on.
    """
    check_key(key)
    found = [message async for message in _under_key(broker, key)]
    if everything and found:
        first = min((message.sequence for message in found if message.stream == EVENTS), default=1)
        async for stored in broker.read(EVENTS, "evt.>", first=first):
            if stored.headers.get(CORRELATION_ID) == key and not stored.subject.endswith(f".{key}"):
                with suppress(MalformedKeyError):  # A stranger may have used a key that no context would.
                    found.append(message_of(EVENTS, stored))
    return found


async def _under_key(broker: Broker, key: str) -> AsyncIterator[Message]:
    for stream, kind in STREAMS:
        async for stored in broker.read(stream, f"{kind}.*.*.*.{key}"):
            yield message_of(stream, stored)


def nats_words(key: str, *, everything: bool = False) -> tuple[tuple[str, ...], ...]:
    """The commands of the nats CLI that show the same messages without the tree; `everything` shows all events."""
    events = "evt.>" if everything else f"evt.*.*.*.{key}"
    subjects = ((EVENTS, events), (TIMERS, f"due.*.*.*.{key}"))
    return tuple(
        ("sub", f"--stream={stream}", "--all", "--terminate-at-end", "--wait=1s", subject)
        for stream, subject in subjects
    )


def message_of(stream: str, stored: Stored) -> Message:
    """A stored message as the timeline needs it; without an id of its own it has the one that contexts give it."""
    subject = parse_subject(stored.subject)
    headers = stored.headers
    return Message(
        id=headers.get(MSG_ID) or headers.get(TIMER_ID) or fallback_id(stream, stored.sequence, stored.at),
        caused_by=headers.get(CAUSATION_ID, ""),
        commanded=CAUSATION_HASH in headers,
        kind=subject.kind,
        context=subject.context,
        type=subject.type,
        key=subject.key,
        at=stored.at,
        stream=stream,
        sequence=stored.sequence,
        body=stored.body,
        strange=why_strange(stored.subject, headers) if stream == EVENTS else "",
    )


def _latest_editions(ids: Iterable[str]) -> dict[str, str]:
    """The id of the highest edition of each message that has several, by its id without an edition."""
    editions = sorted((*split_edition(message_id), message_id) for message_id in ids)
    return {first: message_id for first, edition, message_id in editions if edition > 1}


def _ancestry(cause: str, parents: Mapping[str, str]) -> set[str]:
    seen = {cause}
    while (cause := parents.get(cause, "")) and cause not in seen:
        seen.add(cause)
    return seen


def _all(roots: Iterable[Node]) -> Iterator[Node]:
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.leads_to)
