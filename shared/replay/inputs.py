"""Finds the input behind each decision in a journal, and the inputs between them that led to nothing."""

from collections import OrderedDict
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from shared.engine.route.event_form import SCHEDULER
from shared.engine.route.incoming import Decide, Handling
from shared.engine.route.routing import Routing
from shared.ports.broker import Delivery, Stored
from shared.ports.clock import since_1970_ns
from shared.ports.history import History, Reached
from shared.ports.rows import InputRow, JournalRow
from shared.replay.heard import EventReader, HeardEvents
from shared.wire.messages import (
    CAUSATION_HASH,
    CAUSATION_ID,
    CAUSATION_SUBJECT,
    SCHEMA_VERSION,
    TIMER_ID,
    parse_subject,
    partition_of,
    split_edition,
    timer_subject,
)
from shared.wire.streams import COMMANDS, EVENTS, TIMERS

PAGE: Final = 1_000


class Input(NamedTuple):
    """An input and how the code at hand handles it. `kind` is command, event, deadline, outcome or request.

    `stored_at` is when EVENTS stored a heard event.
    """

    kind: str
    id: str
    type: str
    key: str
    handling: Handling
    stored_at: datetime | None = None


class Behind(NamedTuple):
    """The input behind a decision, or None where it is not on record; and earlier ones that led to nothing."""

    input: Input | None
    kind: str
    quiet: list[Input]


class Inputs:
    """The inputs of one context. Ask for the causes in the order of the journal."""

    def __init__(self, history: History, reader: EventReader, routing: Routing, reached: Reached) -> None:
        self._history = history
        self._routing = routing
        self._up_to = reached.n
        self._heard = HeardEvents(reader, routing, reached.positions)
        self._timers = {timer.name for timer in routing.context.timers}
        self._commands = {command.__name__: command for command in routing.deciders}
        self._kept: OrderedDict[tuple[str, str], list[InputRow]] = OrderedDict()
        self._last_input = 0
        self._all_read = False

    async def behind(self, row: JournalRow, n: int) -> Behind:
        """The input that led to row `n`."""
        kind, cause, armed = self._cause_of(row)
        if armed is not None:
            return Behind(self._deadline(cause, armed), kind, [])
        if kind != "event":
            return self._recorded(kind, cause, n)
        found = await self._heard.take(cause)
        quiet = [self.event(event) for event in found.quiet]
        return Behind(None if found.event is None else self.event(found.event), kind, quiet)

    async def find(self, row: JournalRow) -> Input | None:
        """The input that led to any row, without those before it."""
        kind, cause, armed = self._cause_of(row)
        if armed is not None:
            return self._deadline(cause, armed)
        if kind != "event":
            rows = self._history.input(kind, cause)
            return self._decoded(rows) if rows else None
        event = await self._heard.under_its_key(cause)
        return None if event is None else self.event(event)

    def _cause_of(self, row: JournalRow) -> tuple[str, str, JournalRow | None]:
        """(kind, id) of the cause of a row, and the event that armed it where it is a deadline."""
        cause = row.headers.get(CAUSATION_ID, "")
        if CAUSATION_SUBJECT in row.headers:
            return "request", cause, None
        if CAUSATION_HASH in row.headers:
            return "command", cause, None
        armed_by, _, timer = cause.rpartition("/")
        if timer in self._timers and (armed := self._history.event(split_edition(armed_by)[0])) is not None:
            return "deadline", cause, armed
        if cause.startswith(f"{self._routing.context.name}/"):
            asked = self._history.event(cause)
            if asked is not None and self._asks(asked.type) and not self._reacts_to(asked):
                return "outcome", cause, None
        return "event", cause, None

    async def rest(self) -> list[Input]:
        """The recorded inputs after the last decision. Events of others follow by `rest_of_events`."""
        self._read_up_to(2**62)
        left = [self._decoded(rows) for rows in self._kept.values()]
        self._kept.clear()
        return left

    @property
    def rest_of_events(self) -> HeardEvents:
        """The heard events after the last decision."""
        return self._heard

    def _recorded(self, kind: str, cause: str, n: int) -> Behind:
        """Take an input that was kept. Those before it led to nothing, as inputs and journal go alike."""
        self._read_up_to(n)
        if (kind, cause) not in self._kept:  # It was parked and decided later, or it was never kept.
            rows = self._history.input(kind, cause)
            return Behind(self._decoded(rows) if rows else None, kind, [])
        quiet: list[Input] = []
        while True:
            name, rows = self._kept.popitem(last=False)
            if name == (kind, cause):
                return Behind(self._decoded(rows), kind, quiet)
            quiet.append(self._decoded(rows))

    def _read_up_to(self, n: int) -> None:
        """Read the inputs that were decided before row `n` was written."""
        while not self._all_read and (not self._kept or next(reversed(self._kept.values()))[0].after_n < n):
            page = self._history.inputs(after=self._last_input, limit=PAGE)
            self._all_read = len(page) < PAGE
            for number, row in page:
                if row.after_n >= self._up_to:  # Decided since the replay began.
                    self._all_read = True
                    break
                self._last_input = number
                self._kept.setdefault((row.kind, row.id), []).append(row)

    def _decoded(self, rows: list[InputRow]) -> Input:
        row = rows[0]
        if row.kind == "command":
            subject = f"cmd.{self._routing.context.name}.{row.type}.{self._partition(row.key)}.{row.key}"
            delivery = Delivery(sequence=0, at_ns=row.at_ns, subject=subject, headers={}, body=row.body)
            handling = self._routing.delivered(COMMANDS, self._partition(row.key), delivery).handling
        else:
            known = [one for one in rows if one.type in self._commands]
            handling = Decide([msgspec.json.decode(one.body, type=self._commands[one.type]) for one in known])
        return Input(row.kind, row.id, row.type, row.key, handling)

    def _deadline(self, cause: str, armed: JournalRow) -> Input:
        timer = cause.rpartition("/")[2]
        subject = f"due.{self._routing.context.name}.{timer}.{armed.partition}.{armed.key}"
        # The header of the server by which a due timer is known from a stranger's message.
        fired = {TIMER_ID: cause, SCHEDULER: timer_subject(self._routing.context.name, timer, armed.key)}
        headers = {**armed.headers, SCHEMA_VERSION: armed.headers.get(SCHEMA_VERSION, "1"), **fired}
        delivery = Delivery(sequence=0, at_ns=0, subject=subject, headers=headers, body=armed.body)
        incoming = self._routing.delivered(TIMERS, armed.partition, delivery)
        return Input("deadline", cause, timer, armed.key, incoming.handling)

    def event(self, stored: Stored) -> Input:
        """A heard event as an input."""
        subject = parse_subject(stored.subject)
        delivery = Delivery(
            sequence=stored.sequence,
            at_ns=since_1970_ns(stored.at),
            subject=stored.subject,
            headers=stored.headers,
            body=stored.body,
        )
        incoming = self._routing.delivered(EVENTS, subject.partition, delivery)
        name = f"{subject.context}.{subject.type}"
        return Input("event", stored.event_id, name, subject.key, incoming.handling, stored.at)

    def _asks(self, type_name: str) -> bool:
        return any(event.__name__ == type_name for event in self._routing.effects)

    def _reacts_to(self, row: JournalRow) -> bool:
        subject = f"evt.{self._routing.context.name}.{row.type}.{row.partition}.{row.key}"
        return self._routing.reacts_to(parse_subject(subject))

    def _partition(self, key: str) -> int:
        return partition_of(key, self._routing.partitions)
