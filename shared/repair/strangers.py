"""Messages in EVENTS that have an id of a context and are not from it: what an operator declares of them."""

from pathlib import Path

from shared.adapters.clock import SystemClock
from shared.inspect.databases import reading
from shared.ports.broker import Broker, Stored
from shared.ports.rows import StrangerRow
from shared.ports.store import Transaction
from shared.repair.parked import Refused, transact
from shared.wire.messages import MSG_ID, rfc3339
from shared.wire.streams import EVENTS


async def void(data_dir: Path, row: Refused, *, who: str, why: str, stored: Stored | None) -> int:
    """Declare that the message under the row's id is a stranger's; the worker publishes the row's next edition.

    `stored` is that message, when the broker could be asked for it.
    """
    subject = "" if stored is None else stored.subject
    at = rfc3339(SystemClock().now())
    stranger = StrangerRow(row.message_id, row.sequence, subject, row.reason, at, who, why)

    def give(transaction: Transaction) -> int:
        given = transaction.refused.give_verdict([row.n], "void", who=who, why=why)
        if given:
            transaction.refused.record_strangers([stranger])
        return given

    return await transact(data_dir, row.context, give)


async def declare_stranger(data_dir: Path, context: str, stranger: StrangerRow) -> None:
    """Record a message under an id of the context that no journal has; works while its workers are stopped."""
    await transact(data_dir, context, lambda transaction: transaction.refused.record_strangers([stranger]))


def place_in_journal(data_dir: Path, context: str, message_id: str) -> str | None:
    """Where the context published its own event of this id, in words; None when its journal has none."""
    with reading(data_dir / f"{context}.db", context) as connection:
        query = "SELECT n, published_seq FROM journal WHERE event_id = ?"
        found = connection.execute(query, (message_id,)).fetchone()
    if found is None:
        return None
    return f"row {found[0]}, " + ("not published yet" if found[1] is None else f"published at sequence {found[1]}")


async def find_in_events(broker: Broker, message_id: str) -> Stored | None:
    """The first message under this id in EVENTS, on whatever subject; reads the whole stream if need be."""
    async for stored in broker.read(EVENTS, "evt.>"):
        if stored.headers.get(MSG_ID) == message_id:
            return stored
    return None
