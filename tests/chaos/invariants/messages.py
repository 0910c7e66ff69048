"""The invariants of messages of any system: ids, versions, inboxes, journals, causes and residue."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.engine.intake.partition import NOTICE
from shared.engine.route.routing import Routing
from shared.ports.broker import Stored
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_DEPTH_AT_MOST,
    CAUSATION_HASH,
    CAUSATION_ID,
    MSG_ID,
    TIMER_ID,
    Subject,
    content_hash,
    split_edition,
)
from shared.wire.streams import COMMANDS, EVENTS, TIMERS
from tests.chaos.databases import Row
from tests.chaos.evidence import DEAD_LETTERS, Evidence, parsed
from tests.chaos.finding import Finding

KINDS = {COMMANDS: "cmd", EVENTS: "evt", TIMERS: "due"}
OF_THE_SERVER = "Nats-"
"""How the headers begin that the server adds, or that order a batch."""


def same_id_same_content(evidence: Evidence) -> Iterator[Finding]:
    """I1: in the stream, in the journal of its context, and in the inbox of every context that decided it."""
    bodies: dict[str, bytes] = {}
    for fact in evidence.facts():
        if bodies.setdefault(fact.id, fact.stored.body) != fact.stored.body:
            yield Finding(invariant="I1", where=fact.id, what=f"other content at {fact.stored.sequence}")
    for name, database in evidence.databases.items():
        for row in database.journal:
            if row.kind == "evt" and bodies.get(row.event_id, row.body) != row.body:
                yield Finding(invariant="I1", where=row.event_id, what="its journal says something else")
        for message_id, content in database.inbox.items():
            if message_id in bodies and content_hash(bodies[message_id]) != content:
                yield Finding(invariant="I1", where=message_id, what=f"{name} has heard something else")


def versions_count_up(evidence: Evidence) -> Iterator[Finding]:
    """I2: the versions of an aggregate count up without a gap."""
    versions: dict[str, int] = {}
    for fact in evidence.first_facts:
        aggregate, _, version = split_edition(fact.id)[0].rpartition("@")
        expected = versions.get(aggregate, 0) + 1
        if not version.isdecimal() or int(version) != expected:
            yield Finding(invariant="I2", where=fact.id, what=f"version {expected} was to come")
        versions[aggregate] = expected


def positions_have_been_heard(evidence: Evidence) -> Iterator[Finding]:
    """I7: no position is past the end of its stream."""
    for name, context in evidence.contexts.items():
        database = evidence.databases[name]
        reactions = Routing(context, partitions=evidence.partitions)
        for stream, subject, stored in _meant_for(evidence, name, reactions):
            position = database.positions.get((stream, subject.partition))
            if position is None or stored.sequence > position.seq:
                continue
            if evidence.id_of(stream, stored) not in database.inbox:
                what = f"{stream} {stored.sequence} is below its position {position.seq}, and not in its inbox"
                yield Finding(invariant="I7", where=f"{name} {evidence.id_of(stream, stored)}", what=what)


def journals_are_published(evidence: Evidence) -> Iterator[Finding]:
    """I9: every row of a journal stands in the stream, with its content and headers, where the journal says."""
    events = _by_id(evidence, EVENTS, MSG_ID)
    timers = _by_id(evidence, TIMERS, TIMER_ID)
    letters = _by_id(evidence, DEAD_LETTERS, MSG_ID)
    for name, database in evidence.databases.items():
        latest = {row.aggregate: row.version for row in database.journal}
        for row in database.journal:
            if row.kind == "evt":
                yield from _published(row, events.get(row.event_id, []))
            elif row.kind == "dlq" and row.event_id not in letters:
                yield Finding(invariant="I9", where=row.event_id, what="is not in DEAD_LETTERS")
            elif row.kind == "timer":
                replaced = latest[row.aggregate] != row.version
                if row.event_id not in timers and row.event_id not in database.inbox and not replaced:
                    yield Finding(invariant="I9", where=f"{name} {row.event_id}", what="is neither armed nor due")


def _published(row: Row, found: list[Stored]) -> Iterator[Finding]:
    if not found:
        yield Finding(invariant="I9", where=row.event_id, what=f"row {row.n} is not in EVENTS")
        return
    if row.published_seq not in [stored.sequence for stored in found]:
        what = f"its journal says {row.published_seq}, it is at {found[0].sequence}"
        yield Finding(invariant="I9", where=row.event_id, what=what)
    for stored in found:
        if stored.body != row.body or _ours(stored.headers) != _ours(row.headers):
            yield Finding(invariant="I9", where=row.event_id, what=f"row {row.n} is not what was published")


def events_are_explained(evidence: Evidence) -> Iterator[Finding]:
    """I10: a journal has every event of the stream, or its context has it on record as foreign."""
    written = {name: {row.event_id for row in database.journal} for name, database in evidence.databases.items()}
    written |= {name: {*ids} for name, ids in evidence.read_sides.items()}
    for stranger in evidence.strangers:
        what = f"a stranger at {stranger.sequence}: {stranger.why}"
        yield Finding(invariant="I10", where=stranger.id, what=what)
    for fact in evidence.first_facts:
        if fact.id not in written.get(fact.context, set()):
            what = f"{fact.type} is not in the journal of {fact.context}"
            yield Finding(invariant="I10", where=fact.id, what=what)


def events_have_causes(evidence: Evidence) -> Iterator[Finding]:
    """I11: the cause is another event, a timer that an event armed, or a command whose hash the context knows."""
    facts = evidence.first_facts
    depths = {fact.id: int(fact.stored.headers.get(CAUSATION_DEPTH, "0")) for fact in facts}
    depths |= {split_edition(message_id)[0]: depth for message_id, depth in depths.items()}
    for fact in facts:
        cause, depth = fact.stored.headers.get(CAUSATION_ID, ""), depths[fact.id]
        armed_by = cause.rpartition("/")[0]
        of_command = fact.stored.headers.get(CAUSATION_HASH)
        if of_command is not None:
            database = evidence.databases.get(fact.context)
            inbox = {} if database is None else {**database.answers, **database.inbox}
            known = {inbox.get(cause), inbox.get(f"{cause} {of_command}")}
            if bytes.fromhex(of_command) not in known:
                yield Finding(invariant="I11", where=fact.id, what=f"{fact.context} does not know the command {cause}")
        elif (expected := _depth_after(cause, armed_by, depths)) is None:
            yield Finding(invariant="I11", where=fact.id, what=f"nobody knows its cause {cause!r}")
        elif depth != expected:
            yield Finding(invariant="I11", where=fact.id, what=f"its depth is {depth}, its cause makes it {expected}")
        if not 1 <= depth <= CAUSATION_DEPTH_AT_MOST:
            yield Finding(invariant="I11", where=fact.id, what=f"its depth is {depth}")


def _depth_after(cause: str, armed_by: str, depths: Mapping[str, int]) -> int | None:
    if cause in depths:
        return depths[cause] + 1
    return 1 if armed_by in depths else None  # A timer starts a new chain.


def commands_are_answered(evidence: Evidence) -> Iterator[Finding]:
    """I12: a command that was decided has left its stream."""
    for stored in evidence.streams[COMMANDS]:
        yield Finding(invariant="I12", where=evidence.id_of(COMMANDS, stored), what=f"{stored.subject} waits")


def nothing_is_left(evidence: Evidence) -> Iterator[Finding]:
    """I18: no effect, parked message, unpublished row, undecided event or due timer is left."""
    for name, context in evidence.contexts.items():
        database = evidence.databases[name]
        residue = {
            "is asked for and not answered": database.effects,
            "is parked": database.parked,
            "is not published": [row.event_id for row in database.journal if row.published_seq is None],
        }
        for what, ids in residue.items():
            for where in ids:
                yield Finding(invariant="I18", where=f"{name} {where}", what=what)
        reactions = Routing(context, partitions=evidence.partitions)
        for stream, subject, stored in _meant_for(evidence, name, reactions):
            position = database.positions.get((stream, subject.partition))
            if stored.sequence > (position.seq if position else 0):
                where = f"{name} {evidence.id_of(stream, stored)}"
                yield Finding(invariant="I18", where=where, what=f"{stream} {stored.sequence} is not decided")


def _meant_for(evidence: Evidence, name: str, reactions: Routing) -> Iterator[tuple[str, Subject, Stored]]:
    """The messages that the consumers of a context deliver, in the order of each stream, without notices."""
    for stream, kind in KINDS.items():
        for stored in evidence.streams[stream]:
            try:
                subject = parsed(stored.subject)
            except ValueError:
                continue
            heard = reactions.reacts_to(subject) if stream == EVENTS else subject.context == name
            if subject.kind == kind and heard and subject.type != NOTICE:
                yield stream, subject, stored


def _by_id(evidence: Evidence, stream: str, header: str) -> dict[str, list[Stored]]:
    found: dict[str, list[Stored]] = {}
    for stored in evidence.streams[stream]:
        found.setdefault(stored.headers.get(header, ""), []).append(stored)
    return found


def _ours(headers: Mapping[str, str]) -> dict[str, Any]:
    return {name: value for name, value in headers.items() if not name.startswith(OF_THE_SERVER)}
