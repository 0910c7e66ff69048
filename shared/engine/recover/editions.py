"""Finds the editions under which a context published messages whose first ids were taken; for a rebuild."""

from collections.abc import Mapping

from shared.engine.route.headers import id_in
from shared.ports.broker import Broker, BrokerRefusedError
from shared.ports.rows import JournalRow
from shared.wire.messages import MSG_ID, TIMER_ID, in_edition, split_edition
from shared.wire.streams import EVENTS, TIMERS


async def editions(broker: Broker, context: str) -> Mapping[str, int]:
    """The highest edition of each own event that has more than one."""
    highest: dict[str, int] = {}
    async for stored in broker.read(EVENTS, f"evt.{context}.>"):
        first, edition = split_edition(stored.headers.get(MSG_ID, ""))
        if edition > 1:
            highest[first] = max(edition, highest.get(first, 0))
    return highest


async def timer_editions(broker: Broker, context: str) -> Mapping[tuple[str, bytes], int]:
    """The highest edition of each own timer, by its first id and its body; a stranger's body differs.

    Timers that were decided have left TIMERS. Their consequences in EVENTS name them.
    """
    highest: dict[tuple[str, bytes], int] = {}
    try:
        for kind in ("timer", "due"):
            async for stored in broker.read(TIMERS, f"{kind}.{context}.>"):
                first, edition = split_edition(id_in(TIMERS, stored.headers) or "")
                if edition > 1:
                    highest[first, stored.body] = max(edition, highest.get((first, stored.body), 0))
    except BrokerRefusedError as error:
        if not error.missing:
            raise
    return highest


def timer_in_edition(row: JournalRow, edition: int) -> JournalRow:
    """The row of a timer under this edition of its id."""
    identity = in_edition(row.event_id, edition)
    return row._replace(event_id=identity, headers={**row.headers, MSG_ID: identity, TIMER_ID: identity})
