"""The states of a context's aggregates as of the journal row that a replay has come to.

Only the states that were used last stay in memory. Another one is folded again from the journal when it is asked for.
"""

from collections import OrderedDict
from typing import Final

from shared.context import Aggregate, Context, Event, State
from shared.ports.history import History
from shared.ports.rows import JournalRow
from shared.wire.messages import NEVER

STATES_AT_MOST: Final = 20_000


class States:
    """Folds recorded events, whatever the code at hand would decide instead."""

    def __init__(
        self, context: Context, history: History, *, at_most: int = STATES_AT_MOST, from_start: bool = True
    ) -> None:
        self._history = history
        self._at_most = at_most
        self._states: OrderedDict[str, State] = OrderedDict()
        self._is_complete = from_start
        """Whether no state was dropped yet, so that one that is not in memory is a new one."""
        self._known = {
            event.__name__: (aggregate, context.decoder_of(event))
            for aggregate in context.aggregates
            for event in aggregate.events
        }

    def event_in(self, row: JournalRow) -> Event | None:
        """The event in a row, in its newest form; None for an event of the engine, or of a type that is gone.

        Raises:
            MalformedBodyError: the code at hand cannot read it.
        """
        known = self._known.get(row.type)
        if known is None:
            return None
        event: Event = known[1].decode(row.body, key=row.key, at=NEVER, headers=row.headers)
        return event

    def is_older(self, row: JournalRow) -> bool:
        """Whether the event in a row has an older form, from which an upcaster makes the newest."""
        return self._known[row.type][1].is_older(row.headers)

    def get(self, aggregate: Aggregate, identity: str, n: int) -> State:
        """The state before row `n`."""
        state = self._states.get(identity)
        if state is None:
            state = aggregate.state()
            if not self._is_complete:
                for row in self._history.events_before(identity, n):
                    state = aggregate.evolve(state, self.event_in(row))
            self._keep(identity, state)
        else:
            self._states.move_to_end(identity)
        return state

    def fold(self, row: JournalRow, event: Event, n: int) -> None:
        """Apply a recorded event; raises what its `evolve` raises."""
        aggregate, _ = self._known[row.type]
        self._keep(row.aggregate, aggregate.evolve(self.get(aggregate, row.aggregate, n), event))

    def _keep(self, identity: str, state: State) -> None:
        self._states[identity] = state
        self._states.move_to_end(identity)
        if len(self._states) > self._at_most:
            self._states.popitem(last=False)
            self._is_complete = False


class Tried:
    """The states while one message is decided: its events change them here only."""

    def __init__(self, states: States, n: int) -> None:
        self._states = states
        self._n = n
        self._changed: dict[str, State] = {}
        self.touched: set[str] = set()
        """The ids of all aggregates that were read or changed."""

    def get(self, aggregate: Aggregate, identity: str) -> State:
        """The state after the events so far."""
        self.touched.add(identity)
        changed = self._changed.get(identity)
        return self._states.get(aggregate, identity, self._n) if changed is None else changed

    def evolve(self, aggregate: Aggregate, identity: str, event: Event) -> None:
        """Apply an event that was decided just now."""
        self._changed[identity] = aggregate.evolve(self.get(aggregate, identity), event)
