"""Records strangers: messages in EVENTS that have an id of a context and that the context did not publish."""

from pathlib import Path

from shared.adapters.clock import SystemClock
from shared.inspect.read_only import read_only
from shared.ports.broker import Broker, Stored
from shared.ports.rows import StrangerRow
from shared.ports.store import Transaction
from shared.repair.parked import Refused, transact
from shared.wire.messages import MSG_ID, rfc3339
from shared.wire.streams import EVENTS


async def void(data_dir: Path, row: Refused, *, who: str, why: str, stored: Stored | None) -> int:
    """Record the message under the row's id as a stranger's; the worker then publishes the row's next edition.

    `stored` is that message, or None when the broker did not answer.
    """
    subject = "" if stored is None else stored.subject
    at = rfc3339(SystemClock().now())
    stranger = StrangerRow(row.message_id, row.sequence, subject, row.reason, at, who, why)

    def give_verdict(transaction: Transaction) -> int:
        given = transaction.refused.give_verdict([row.row], "void", who=who, why=why)
        if given:
            transaction.refused.record_strangers([stranger])
        return given

    return await transact(data_dir, row.context, give_verdict)


async def declare_stranger(data_dir: Path, context: str, stranger: StrangerRow) -> None:
    """Record a message whose id is in no journal; the workers of the context may be stopped.

    Makes the database when it is lost: a rebuild with `force` replaces it and keeps what is declared in it.
    """
    await transact(data_dir, context, lambda transaction: transaction.refused.record_strangers([stranger]))


def find_in_journal(data_dir: Path, context: str, message_id: str) -> str | None:
    """Where the context's own event of this id stands, in words; None when its journal has none, or is lost."""
    path = data_dir / f"{context}.db"
    if data_dir.is_dir() and not path.exists():
        return None
    with read_only(path, context) as connection:
        query = "SELECT n, published_seq FROM journal WHERE event_id = ?"
        found = connection.execute(query, (message_id,)).fetchone()
    if found is None:
        return None
    return f"row {found[0]}, " + ("not published yet" if found[1] is None else f"published at sequence {found[1]}")


async def find_in_events(broker: Broker, message_id: str) -> Stored | None:
    """The first message in EVENTS under this id, on any subject; may read the whole stream."""
    async for stored in broker.read(EVENTS, "evt.>"):
        if stored.headers.get(MSG_ID) == message_id:
            return stored
    return None
