"""Audits EVENTS: a journal is the proof of its own events, so an event that no journal has is a stranger's.

Reads the stream once, in batches, and each journal beside its workers. It changes nothing. The outbox of a group is the
proof of what its read side has published.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType
from typing import Final, Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from shared.engine.route.event_form import why_strange
from shared.ports.broker import Broker, Stored
from shared.ports.databases import Databases
from shared.ports.rows import Proof, StrangerRow
from shared.wire.messages import event_subject, parse_subject
from shared.wire.streams import EVENTS

AT_ONCE: Final = 1_000

Finding: TypeAlias = Literal["absent", "other_content", "no_context"]
"""No row in the journal, a row with another subject or body, or no context of this name."""
Proving: TypeAlias = Callable[[Sequence[str]], Mapping[str, Proof]]
"""Looks up events by their ids in the database that should have published them."""


class Unproven(Struct, frozen=True, kw_only=True):
    """An event that the journal of its context does not prove.

    `reason` tells why the message has not even the form of its context's events; it is empty when it has. `declared`
    tells whether an operator has declared it a stranger's.
    """

    sequence: int
    at: str
    subject: str
    message_id: str
    finding: Finding
    reason: str
    declared: bool = False


class Audit(Struct, frozen=True, kw_only=True):
    """How many events were compared. `unread` are contexts without a database here; their events are not judged."""

    events: int
    unproven: tuple[Unproven, ...]
    unread: tuple[str, ...]

    @property
    def is_clean(self) -> bool:
        """Whether every event was compared, and is proven or declared."""
        return not self.unread and all(one.declared for one in self.unproven)


async def audit(
    broker: Broker,
    databases: Databases,
    contexts: Collection[str],
    partitions: int,
    outboxes: Mapping[str, Sequence[Proving] | None] = MappingProxyType({}),
) -> Audit:
    """Compare every event with the journal of the context in its subject.

    `outboxes` are those of the groups of read sides, by the name of the side; None when they are elsewhere.

    Raises:
        BrokerError: the stream could not be read.
        DatabaseError: a database is broken.
    """
    here = [name for name in contexts if databases.exists(name)]
    unread = (
        *(name for name in contexts if name not in here),
        *(name for name, found in outboxes.items() if found is None),
    )
    unproven: list[Unproven] = []
    compared = 0
    with ExitStack() as stack:
        readers = {name: stack.enter_context(databases.reading(name)) for name in here}
        proving: dict[str, Sequence[Proving] | None] = {name: [reader.proofs] for name, reader in readers.items()}
        proving |= outboxes
        async for batch in _batches(broker.read(EVENTS, "evt.>")):
            by_context: dict[str, list[Stored]] = {}
            for stored in batch:
                by_context.setdefault(stored.subject.split(".")[1], []).append(stored)
            for name, said in by_context.items():
                if (look_ups := proving.get(name)) is not None:
                    compared += len(said)
                    unproven += _unproven(look_ups, said, partitions)
                elif name not in unread:
                    compared += len(said)
                    unproven += [_finding(stored, "no_context", partitions) for stored in said]
        rows = [row for reader in readers.values() for row in reader.declared_strangers()]
    unproven = _with_declarations(unproven, rows)
    return Audit(events=compared, unproven=tuple(sorted(unproven, key=lambda one: one.sequence)), unread=unread)


async def _batches(messages: AsyncIterator[Stored]) -> AsyncIterator[list[Stored]]:
    batch: list[Stored] = []
    async for stored in messages:
        batch.append(stored)
        if len(batch) == AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch


def _unproven(look_ups: Sequence[Proving], said: Sequence[Stored], partitions: int) -> Iterable[Unproven]:
    proofs: dict[str, Proof] = {}
    for look_up in look_ups:
        proofs.update(look_up([stored.event_id for stored in said]))
    for stored in said:
        known = proofs.get(stored.event_id)
        if known is None:
            yield _finding(stored, "absent", partitions)
        elif known != Proof(_published_as(stored.subject), stored.body):
            yield _finding(stored, "other_content", partitions)


def _with_declarations(unproven: Iterable[Unproven], declared: Iterable[StrangerRow]) -> list[Unproven]:
    """Mark those that an operator has declared; the sequence of a row is 0 where the operator did not know it."""
    known = {(row.message_id, row.seq) for row in declared}
    return [
        replace(one, declared=not known.isdisjoint({(one.message_id, one.sequence), (one.message_id, 0)}))
        for one in unproven
    ]


def _published_as(subject: str) -> str:
    """The subject of a stored event before the stream put the partition into it; another subject as it is."""
    try:
        parsed = parse_subject(subject)
    except ValueError:
        return subject
    return event_subject(parsed.context, parsed.type, parsed.key)


def _finding(stored: Stored, finding: Finding, partitions: int) -> Unproven:
    return Unproven(
        sequence=stored.sequence,
        at=stored.at.isoformat(),
        subject=stored.subject,
        message_id=stored.event_id,
        finding=finding,
        reason=why_strange(stored.subject, stored.headers, partitions),
    )
