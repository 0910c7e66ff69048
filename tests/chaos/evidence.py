"""Gathers the streams, the databases and the books of a run once, as values, and tells events from strangers."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import Struct

from shared import catalog
from shared.adapters.sqlite.reading import open_read_only
from shared.config.settings import Settings
from shared.context import Context
from shared.engine.route.headers import id_in
from shared.ports.broker import Broker, Stored
from shared.streams.file import read_topology
from shared.wire.messages import (
    CAUSATION_DEPTH,
    CAUSATION_HASH,
    CAUSATION_ID,
    MSG_ID,
    OCCURRED_AT,
    fallback_id,
    parse_subject,
    split_edition,
)
from shared.wire.streams import COMMANDS, EVENTS, TIMERS
from tests.chaos.databases import Books, Database, problems_of, read_books, read_database

DEAD_LETTERS = "DEAD_LETTERS"
STREAMS = (COMMANDS, EVENTS, TIMERS, DEAD_LETTERS)

parsed = lru_cache(maxsize=1 << 16)(parse_subject)
"""Each check asks for the subjects of all messages."""


class Fact(NamedTuple):
    """An event of the stream, taken apart."""

    stored: Stored
    id: str
    context: str
    type: str
    key: str

    @property
    def aggregate(self) -> str:
        """`context/aggregate`, as its id spells it."""
        return split_edition(self.id)[0].rpartition("@")[0]

    @property
    def version(self) -> int:
        """Which fact of its aggregate it is."""
        return int(split_edition(self.id)[0].rpartition("@")[2])

    def content(self, field: str) -> object:
        """A field of its body."""
        return json.loads(self.stored.body)[field]


class Stranger(NamedTuple):
    """A message in EVENTS that no context of ours can have published, and why not."""

    id: str
    sequence: int
    why: str


class Evidence(Struct, frozen=True, kw_only=True, dict=True):
    """All that the checker looks at. `files` are the faults of the databases as files.

    `read_sides` are the ids of the events that each read side has in the outboxes of its groups. Contexts did not work
    for the time `away`, all together, so a deadline may be met that much later.
    """

    settings: Settings
    partitions: int
    contexts: Mapping[str, Context]
    born: Mapping[str, str]
    streams: Mapping[str, Sequence[Stored]]
    databases: Mapping[str, Database]
    books: Books
    files: Sequence[str]
    read_sides: Mapping[str, Collection[str]] = {}
    away: timedelta = timedelta()

    @property
    def strangers(self) -> Sequence[Stranger]:
        """The messages in EVENTS that have not the form of our events and are on record nowhere."""
        recorded = {message_id for database in self.databases.values() for message_id in database.strangers}
        return [stranger for stranger in self._sorted[1] if stranger.id not in recorded]

    def facts(self) -> Sequence[Fact]:
        """Every event in stream order, strangers left out."""
        return self._sorted[0]

    @cached_property
    def _sorted(self) -> tuple[Sequence[Fact], Sequence[Stranger]]:
        facts, strangers = [], []
        for stored in self.streams[EVENTS]:
            try:
                facts.append(_fact(stored))
            except (ValueError, RecursionError) as error:
                strangers.append(Stranger(self.id_of(EVENTS, stored), stored.sequence, str(error)))
        return facts, strangers

    @cached_property
    def first_facts(self) -> Sequence[Fact]:
        """Every event once, in its highest edition: where that stands first."""
        found: dict[str, Fact] = {}
        editions: dict[str, int] = {}
        for fact in self.facts():
            found.setdefault(fact.id, fact)
            first, edition = split_edition(fact.id)
            editions[first] = max(edition, editions.get(first, 1))
        return [fact for fact in found.values() if split_edition(fact.id)[1] == editions[split_edition(fact.id)[0]]]

    def id_of(self, stream: str, stored: Stored) -> str:
        """The id of a message, made of its place where it says none."""
        return id_in(stream, stored.headers) or fallback_id(stream, stored.sequence, stored.at)


def _fact(stored: Stored) -> Fact:
    """The message as one of our events; raises ValueError when it has not the form of one."""
    subject, headers = parsed(stored.subject), stored.headers
    if MSG_ID not in headers:
        raise ValueError("it has no id")
    identity, _ = split_edition(headers[MSG_ID])
    if subject.kind != "evt" or re.fullmatch(rf"{subject.context}/[^@]+@[1-9][0-9]*", identity) is None:
        raise ValueError(f"no event of {subject.context} has such an id")
    missing = [name for name in (CAUSATION_ID, CAUSATION_DEPTH, OCCURRED_AT) if name not in headers]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    if not headers[CAUSATION_DEPTH].isdecimal():
        raise ValueError(f"its depth is {headers[CAUSATION_DEPTH]!r}")
    bytes.fromhex(headers.get(CAUSATION_HASH, ""))
    if datetime.fromisoformat(headers[OCCURRED_AT]).tzinfo is None:
        raise ValueError(f"it occurred at {headers[OCCURRED_AT]}, and nobody knows in which zone")
    if not isinstance(json.loads(stored.body), dict):
        raise ValueError("its body is no JSON object")
    return Fact(stored, headers[MSG_ID], subject.context, subject.type, subject.key)


class Streams(NamedTuple):
    """When each stream was made, and every message that it holds."""

    born: Mapping[str, str]
    messages: Mapping[str, Sequence[Stored]]


async def gather(broker: Broker, settings: Settings, databases: Mapping[str, Path]) -> Evidence:
    """Read it all; the databases first, so that the streams have every message that the databases have heard."""
    read = assemble(settings, databases, Streams({}, {}))
    streams = await read_streams(broker)
    return msgspec.structs.replace(read, born=streams.born, streams=streams.messages)


async def read_streams(broker: Broker) -> Streams:
    """Every message of every stream."""
    born = {stream: (await broker.stream_info(stream)).created for stream in STREAMS}
    return Streams(born, {stream: [stored async for stored in broker.read(stream, ">")] for stream in STREAMS})


def assemble(settings: Settings, databases: Mapping[str, Path], streams: Streams) -> Evidence:
    """The evidence of these databases, the bank's among them, and of streams that were read."""
    contexts = {name: context for name, context in _contexts(settings).items() if name in databases}
    return Evidence(
        settings=settings,
        partitions=_partitions(settings.streams_file),
        contexts=contexts,
        born=streams.born,
        streams=streams.messages,
        databases={name: read_database(databases[name]) for name in contexts},
        books=read_books(databases["bank"]),
        files=[problem for name in contexts for problem in problems_of(databases[name])],
        read_sides={name: _outboxes_of(path) for name, path in databases.items() if name not in contexts},
    )


def _outboxes_of(path: Path) -> Collection[str]:
    """The ids of the events of a read side; `path` is the place that its database would have as a context."""
    found: set[str] = set()
    for group in path.parent.glob(f"{path.stem}-*.db"):
        with closing(open_read_only(group)) as database:
            found.update(event_id for (event_id,) in database.execute("SELECT event_id FROM outbox"))
    return found


_KNOWN: list[tuple[Settings, Mapping[str, Context]]] = []
"""Contexts by settings, which cannot be hashed."""


def _contexts(settings: Settings) -> Mapping[str, Context]:
    """The contexts with these settings. Declaring and checking them takes longer than to read their databases."""
    for known, contexts in _KNOWN:
        if known == settings:
            return contexts
    contexts = catalog.contexts(settings)
    _KNOWN.append((settings, contexts))
    return contexts


@cache
def _partitions(streams_file: Path) -> int:
    return read_topology(streams_file).partitions
