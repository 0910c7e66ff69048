"""Collects how a saga went: its commands, those that its decisions depend on, and the facts that came of them."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from shared.context import Context
from shared.engine.route.routing import Routing
from shared.ports.clock import moment
from shared.ports.databases import Databases
from shared.ports.history import History
from shared.ports.rows import InputRow
from shared.replay.deciding import decide
from shared.replay.heard import EventReader
from shared.replay.inputs import Inputs
from shared.replay.states import States
from shared.wire.messages import CAUSATION_ID, OCCURRED_AT, command_subject, is_event_id, partition_of
from shared.wire.streams import COMMANDS, EVENTS

COMMANDS_AT_MOST = 2_000
"""A test with more would be no help to anybody."""


class Step(NamedTuple):
    """A command of a client; `message_id` is empty where the client gave none."""

    at: datetime
    subject: str
    body: bytes
    message_id: str


class Recording(NamedTuple):
    """How one saga went. `facts` are the events under its key by context, in the order of the stream.

    `contents` has the content of each event whose type occurs once under the key.
    """

    key: str
    partitions: int
    settings: Mapping[str, Any]
    steps: Sequence[Step]
    facts: Mapping[str, Sequence[str]]
    contents: Mapping[str, Mapping[str, Any]]
    ends: datetime


class _Said(NamedTuple):
    """An event under the key of the saga."""

    context: str
    type: str
    at: datetime
    body: bytes


class NoSuchSagaError(Exception):
    """The saga is not there, or its commands are not on record; the text says which."""


async def record(
    key: str,
    contexts: Sequence[Context],
    databases: Databases,
    reader: EventReader,
    *,
    partitions: int,
    settings: Mapping[str, Any],
) -> tuple[Recording, Recording]:
    """The saga with the commands under the keys that it touched; and with every command before its end.

    Raises:
        NoSuchSagaError: no event has this key, or its commands were not kept.
        DatabaseError: a database is missing or broken.
    """
    events = await _events(key, reader, partitions)
    if not events:
        raise NoSuchSagaError(f"EVENTS has no event under {key}; chorus ls lists the sagas")
    ends = max(event.at for event in events)
    contexts = [context for context in contexts if databases.exists(context.name)]
    touched = {key}
    narrow: list[Step] = []
    wide: list[Step] = []
    for context in contexts:
        with databases.history(context.name) as history:
            touched |= await _touched(key, context, history, reader, partitions)
    for context in contexts:
        with databases.history(context.name) as history:
            narrow += _steps(context, history.commands(touched), ends)
            wide += _steps(context, history.commands(), ends)
    if not any(step.subject.endswith(f".{key}") for step in narrow):
        raise NoSuchSagaError(
            f"no command under {key} is on record: CHORUS_RECORD_INPUTS was off, or a database was rebuilt"
        )
    narrow.sort(key=attrgetter("at"))
    wide.sort(key=attrgetter("at"))
    whole = Recording(key, partitions, settings, narrow, _facts(events), _contents(events), ends)
    return whole, whole._replace(steps=wide[-COMMANDS_AT_MOST:])


async def _events(key: str, reader: EventReader, partitions: int) -> list[_Said]:
    events: dict[str, _Said] = {}
    async for stored in reader.read(EVENTS, f"evt.*.*.{partition_of(key, partitions)}.{key}"):
        _, context, event, _ = stored.subject.split(".", 3)
        if not is_event_id(stored.event_id) or not stored.event_id.startswith(f"{context}/"):
            continue  # A stranger's message.
        occurred_at = stored.headers.get(OCCURRED_AT)
        at = datetime.fromisoformat(occurred_at) if occurred_at else stored.at
        events.setdefault(stored.event_id, _Said(context, event, at, stored.body))
    return [*events.values()]


def _facts(events: Iterable[_Said]) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    for event in events:
        facts.setdefault(event.context, []).append(event.type)
    return dict(sorted(facts.items()))


def _contents(events: Sequence[_Said]) -> dict[str, Mapping[str, Any]]:
    times = Counter(event.type for event in events)
    return {event.type: msgspec.json.decode(event.body) for event in events if times[event.type] == 1}


async def _touched(key: str, context: Context, history: History, reader: EventReader, partitions: int) -> set[str]:
    """The keys of all that the decisions of the saga read or changed in one context."""
    routing = Routing(context, partitions=partitions)
    inputs = Inputs(history, reader, routing, history.reached())
    keys: set[str] = set()
    rows = history.events_of_saga(key)
    for _, group in groupby(rows, key=lambda numbered: numbered.row.headers.get(CAUSATION_ID)):
        first, *others = group
        keys |= {numbered.row.key for numbered in (first, *others)}
        found = await inputs.find(first.row)
        if found is not None:
            outcome = decide(routing, States(context, history, from_start=False), found, first.n)
            keys |= {identity.partition("-")[2].partition(".")[0] for identity in outcome.touched}
    return keys


def _steps(context: Context, rows: Iterable[InputRow], ends: datetime) -> list[Step]:
    accepted = {command.__name__ for command in context.accepts}
    steps = []
    for row in rows:
        at = moment(row.at_ns)
        if row.type in accepted and at <= ends:
            given = "" if row.id.startswith(f"{COMMANDS}@") else row.id
            steps.append(Step(at, command_subject(context.name, row.type, row.key), row.body, given))
    return steps
