"""Decides the recorded inputs of a context again, with the code at hand, and finds every decision that differs.

Each input meets the state as it was: the fold of the recorded events before it. So a difference stands alone, and does
not lead to others. A replay only reads: it has no transaction, no effect runner, and nothing that could publish.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from shared.context import Context
from shared.engine.decide.outgoing import MESSAGE_ID_REUSED, parked_aggregate
from shared.engine.route.routing import Routing
from shared.ports.history import History
from shared.ports.rows import JournalRow, NumberedRow
from shared.replay.deciding import decide
from shared.replay.difference import Decided, Difference, rejection, without_times
from shared.replay.heard import EventReader
from shared.replay.inputs import Input, Inputs
from shared.replay.states import STATES_AT_MOST, States
from shared.wire.bodies import MalformedBodyError
from shared.wire.engine_events import CommandRejected, MessageParked, MessageUnparked
from shared.wire.messages import CAUSATION_HASH, CAUSATION_ID, CAUSATION_SUBJECT, OCCURRED_AT

PAGE: Final = 1_000
ROWS_AHEAD: Final = 2_000
"""How far apart the events of one decision may be: a rebuilt journal has those of other keys between them."""

SILENT_AT_MOST: Final = 10_000
"""How many inputs that led to nothing are reported; the first ones are enough to see why."""

_ABOUT_PARKED = (MessageParked.__name__, MessageUnparked.__name__)
_rejected = msgspec.json.Decoder(CommandRejected)


class Replay:
    """One replay of one context. `counts` are complete after `differences` has ended."""

    def __init__(
        self,
        context: Context,
        history: History,
        reader: EventReader,
        *,
        partitions: int,
        states_at_most: int = STATES_AT_MOST,
    ) -> None:
        self.counts: Counter[str] = Counter()
        """How many inputs were decided again, by kind; `unrecorded …` are those that are not on record."""
        self._history = history
        self._routing = Routing(context, partitions=partitions)
        self._states = States(context, history, at_most=states_at_most)
        self._reached = history.reached()
        self._inputs = Inputs(history, reader, self._routing, self._reached)
        self._silent: dict[str, Difference] = {}
        """Inputs that led to nothing and would lead to something now; their events may still come in the journal."""

    async def differences(self) -> AsyncIterator[Difference]:
        """Every decision that the code at hand would take otherwise."""
        for group in self._groups():
            n, first = group[0]
            cause = first.headers.get(CAUSATION_ID, "")
            self._silent.pop(cause, None)
            behind = await self._inputs.behind(first, n)
            for quiet in behind.quiet:
                self._decide_quiet(quiet, n)
            if behind.input is None or _of_engine(first):
                self.counts[f"unrecorded {behind.kind}"] += 1
            else:
                self.counts[behind.input.kind] += 1
                if (difference := self._compared(behind.input, group)) is not None:
                    yield difference
            for number, row in group:
                if (problem := self._fold(row, number)) is not None:
                    yield problem
            self._confirm(behind.quiet, group[-1].n + 1)
        end = self._reached.n + 1
        for quiet in await self._inputs.rest():
            self._decide_quiet(quiet, end)
        async for event in self._inputs.rest_of_events.rest():
            self._decide_quiet(self._inputs.event(event), end)
        for difference in self._still_silent():
            yield difference

    def _groups(self) -> Iterator[list[NumberedRow]]:
        """The events that one input led to, in the order of their first ones."""
        groups: OrderedDict[tuple[str, ...], list[NumberedRow]] = OrderedDict()
        after, ahead = 0, 0
        while page := self._history.events(after=after, up_to=self._reached.n, limit=PAGE):
            after = page[-1].n
            for numbered in page:
                if numbered.row.type not in _ABOUT_PARKED:
                    groups.setdefault(_cause_of(numbered.row), []).append(numbered)
                    ahead += 1
            while ahead > ROWS_AHEAD:
                _, group = groups.popitem(last=False)
                ahead -= len(group)
                yield group
        yield from groups.values()

    def _decide_quiet(self, quiet: Input, n: int) -> None:
        """Decide an input that led to nothing when it was decided first."""
        self.counts[quiet.kind] += 1
        now, problem, _ = decide(self._routing, self._states, quiet, n)
        if (now or problem) and len(self._silent) < SILENT_AT_MOST:
            self._silent[quiet.id] = Difference(quiet.kind, quiet.id, quiet.type, quiet.key, (), now, problem)

    def _confirm(self, quiet: Sequence[Input], n: int) -> None:
        """Decide inputs that led to nothing once more, after the decision that follows them in the stream.

        Where it was the first of the two, as when a new policy heard the past, they had nothing left to do.
        """
        for one in quiet:
            if one.id in self._silent:
                now, problem, _ = decide(self._routing, self._states, one, n)
                if not now and not problem:
                    del self._silent[one.id]

    def _still_silent(self) -> Iterator[Difference]:
        """The differences of inputs that led to nothing, unless they were no inputs yet, or were parked."""
        ids = [*self._silent]
        decided = self._history.in_inbox(ids)
        parked = self._history.was_parked([parked_aggregate(one) for one in ids])
        for one, difference in self._silent.items():
            was_decided = difference.kind != "event" or one in decided
            if was_decided and parked_aggregate(one) not in parked:
                yield difference

    def _compared(self, found: Input, group: Sequence[NumberedRow]) -> Difference | None:
        now, problem, _ = decide(self._routing, self._states, found, group[0].n)
        recorded, unreadable = self._recorded(group)
        problem = problem or unreadable
        for number, ((_, row), before) in enumerate(zip(group, recorded, strict=True)):
            if number < len(now) and now[number].type == row.type and self._is_older(row):
                # Only the fields that the older form had can be compared.
                content = {name: value for name, value in now[number].content.items() if name in before.content}
                now[number] = now[number]._replace(content=content)
        if found.stored_at is not None and found.stored_at > datetime.fromisoformat(group[0].row.headers[OCCURRED_AT]):
            types = self._routing.event_types
            recorded, now = ([without_times(one, types.get(one.type)) for one in events] for events in (recorded, now))
        if recorded == now and not problem:
            return None
        return Difference(found.kind, found.id, found.type, found.key, recorded, now, problem)

    def _recorded(self, group: Sequence[NumberedRow]) -> tuple[list[Decided], str]:
        """(the recorded events in their newest form, why one of them cannot be read)."""
        recorded: list[Decided] = []
        problem = ""
        for _, row in group:
            if row.type == CommandRejected.__name__:
                recorded.append(rejection(_rejected.decode(row.body)))
                continue
            try:
                event = self._states.event_in(row)
            except MalformedBodyError as error:
                event, problem = None, f"{row.event_id} cannot be read any more: {error}"
            content = msgspec.json.decode(row.body) if event is None else msgspec.to_builtins(event)
            if event is not None and self._states.is_older(row):
                older = msgspec.json.decode(row.body)
                content = {name: value for name, value in content.items() if name in older}
            recorded.append(Decided(row.type, row.aggregate, content))
        return recorded, problem

    def _is_older(self, row: JournalRow) -> bool:
        return row.type in self._routing.event_types and self._states.is_older(row)

    def _fold(self, row: JournalRow, n: int) -> Difference | None:
        """Apply a recorded event to its aggregate; returns why that cannot be."""
        self.counts["recorded events"] += 1
        try:
            event = self._states.event_in(row)
            if event is not None:
                self._states.fold(row, event, n)
        except Exception as error:  # As above. `_recorded` has reported an event that cannot be read.
            if isinstance(error, MalformedBodyError):
                return None
            problem = f"{row.event_id} cannot follow what came before it: {type(error).__name__}: {error}"
            return Difference("event", row.event_id, row.type, row.key, (), (), problem)
        return None


def _cause_of(row: JournalRow) -> tuple[str, ...]:
    return tuple(row.headers.get(name, "") for name in (CAUSATION_ID, CAUSATION_HASH, CAUSATION_SUBJECT))


def _of_engine(row: JournalRow) -> bool:
    """Whether the engine refused the command for its headers or its subject, which are not kept."""
    if row.type != CommandRejected.__name__:
        return False
    rejected = _rejected.decode(row.body)
    return rejected.reason == MESSAGE_ID_REUSED or bool(
        rejected.details and not rejected.details[0].path.startswith("$")
    )
