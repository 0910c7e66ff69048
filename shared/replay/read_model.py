"""Folds EVENTS into a second database of a group with the code at hand, and finds every row that differs.

A fold needs all that came before, so it begins with the first event. The live database goes on meanwhile: what it gets
while the second one is folded is folded too, and both are compared at the position of one snapshot of the live one.
Nothing is published, no bucket is written, and nobody is called.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec

from shared.groups.batch import Batches
from shared.groups.refold import fold_up_to
from shared.ports.broker import Broker
from shared.ports.views import Known, RowDifference, SecondDatabase
from shared.readside.group import Group
from shared.replay.difference import changes_of
from shared.wire.streams import EVENTS


class NotComparableError(Exception):
    """The live database and a second one have nothing that can be compared; the text says why."""


class ReadModelReplay:
    """The replay of one group of a read side."""

    def __init__(self, context: str, group: Group, second: SecondDatabase, broker: Broker) -> None:
        self._batches = Batches(context, group)
        self._second = second
        self._broker = broker
        self.known = Known()
        """The position at which the two were compared."""
        self.first = 1
        """The first sequence that EVENTS has; the live database may know earlier events."""

    async def differences(self, since: int = 0) -> AsyncIterator[RowDifference]:
        """Build the second database, and give the rows that differ and that an event from `since` on has changed.

        The second database is complete when this has ended.

        Raises:
            NotComparableError: the live one does not know EVENTS up to `since`, or follows from another EVENTS.
            BrokerError: EVENTS cannot be read.
            DatabaseError: there is no live database, or the second one is there already.
        """
        reached = self._second.position()
        if since > reached.sequence:
            raise NotComparableError(f"the live database knows EVENTS up to {reached.sequence}, not to {since}")
        info = await self._broker.stream_info(EVENTS)
        if reached.created not in ("", info.created):
            raise NotComparableError("the live database follows from another EVENTS; let its worker catch up first")
        self.first = info.first_sequence
        store = await self._second.create()
        try:
            second = Known(created=info.created)
            second = await fold_up_to(store.transact, self._batches, self._broker, second, reached.sequence)
            with self._second.beside_live() as comparison:
                self.known = comparison.known
                await fold_up_to(store.transact, self._batches, self._broker, second, self.known.sequence)
                comparison.compare()
                for difference in comparison.differences():
                    if _is_shown(difference, since):
                        yield difference
        finally:
            await store.close()
        self._second.complete()


async def sequence_at(broker: Broker, time: datetime) -> int:
    """The sequence of the first event that was stored at this time or later; that behind the last one if there is none.

    Raises:
        BrokerError: EVENTS cannot be read.
    """
    info = await broker.stream_info(EVENTS)
    low, high = info.first_sequence, info.last_sequence + 1
    while low < high:
        middle = (low + high) // 2
        stored = await broker.get(EVENTS, middle)
        if stored is None or stored.at < time:
            low = middle + 1
        else:
            high = middle
    return low


def line(difference: RowDifference) -> str:
    """The difference as text: `-` is in the live database only, `+` in the second one only, `~` has other content."""
    named = f"{difference.what} {difference.key}"
    before, after = _decoded(difference.before), _decoded(difference.after)
    if difference.before is None:
        return f"+ {named} {difference.after}"
    if difference.after is None:
        return f"- {named} {difference.before}"
    return f"~ {named}: {'; '.join(changes_of(before, after, '$'))}"


def as_json(difference: RowDifference) -> dict[str, Any]:
    """The difference as JSON."""
    return {
        "what": difference.what,
        "key": difference.key,
        "before": _decoded(difference.before),
        "after": _decoded(difference.after),
        "sequence": difference.sequence,
    }


def _is_shown(difference: RowDifference, since: int) -> bool:
    """Rows whose fields only have another order are the same."""
    if since and (difference.sequence is None or difference.sequence < since):
        return False
    return bool(_decoded(difference.before) != _decoded(difference.after))


def _decoded(row: str | None) -> Any:
    if row is None:
        return None
    try:
        return msgspec.json.decode(row)
    except msgspec.DecodeError:
        return row
