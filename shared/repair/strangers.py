"""Records and lists strangers: messages in EVENTS under the subjects of a context that has not published them."""

from collections.abc import Iterable
from datetime import datetime

from msgspec import Struct

from shared.ports.broker import Broker, Stored
from shared.ports.databases import Databases
from shared.ports.rows import StrangerRow
from shared.ports.store import Transaction
from shared.repair.parked import transact
from shared.repair.unresolved import Refused
from shared.wire.messages import MSG_ID, rfc3339
from shared.wire.streams import EVENTS


async def void(databases: Databases, row: Refused, *, who: str, why: str, at: datetime, stored: Stored | None) -> int:
    """Record the message under the row's id as a stranger's; the worker then publishes the row's next edition.

    `stored` is that message, or None when the broker did not answer.
    """
    subject = "" if stored is None else stored.subject
    stranger = StrangerRow(row.message_id, row.sequence, subject, row.reason, rfc3339(at), who, why)

    def give_verdict(transaction: Transaction) -> int:
        given = transaction.refused.give_verdict([row.row], "void", who=who, why=why)
        if given:
            transaction.refused.record_strangers([stranger])
        return given

    return await transact(databases, row.context, give_verdict)


async def declare_stranger(databases: Databases, context: str, stranger: StrangerRow) -> None:
    """Record a message whose id is in no journal; the workers of the context may be stopped.

    Makes the database when it is lost: a rebuild with `force` replaces it and keeps what is declared in it.
    """
    await transact(databases, context, lambda transaction: transaction.refused.record_strangers([stranger]))


class SetAside(Struct, frozen=True, kw_only=True):
    """A message that `contexts` have set aside, because the context in its subject did not publish it."""

    message_id: str
    sequence: int
    subject: str
    reason: str
    at: str
    contexts: tuple[str, ...]


def set_aside_in(databases: Databases, contexts: Iterable[str], limit: int) -> tuple[list[SetAside], int]:
    """The newest messages that these contexts have set aside, and how many there are at least."""
    found: dict[int, SetAside] = {}
    at_least = 0
    for context in contexts:
        if databases.exists(context):
            with databases.reading(context) as reader:
                rows, count = reader.strangers(limit)
            at_least = max(at_least, count)
            for row in rows:
                known = found[row.seq].contexts if row.seq in found else ()
                found[row.seq] = SetAside(
                    message_id=row.message_id,
                    sequence=row.seq,
                    subject=row.subject,
                    reason=row.reason,
                    at=row.at,
                    contexts=(*known, context),
                )
    newest = sorted(found.values(), key=lambda one: one.sequence, reverse=True)[:limit]
    return newest, max(at_least, len(found))


def find_in_journal(databases: Databases, context: str, message_id: str) -> str | None:
    """Where the context's own event of this id stands, in words; None when its journal has none, or is lost."""
    if databases.is_lost(context):
        return None
    with databases.reading(context) as reader:
        found = reader.publications_of_events([message_id]).get(message_id)
    if found is None:
        return None
    published = "not published yet" if found.sequence is None else f"published at sequence {found.sequence}"
    return f"row {found.n}, {published}"


async def find_in_events(broker: Broker, message_id: str) -> Stored | None:
    """The first message in EVENTS under this id, on any subject; may read the whole stream."""
    async for stored in broker.read(EVENTS, "evt.>"):
        if stored.headers.get(MSG_ID) == message_id:
            return stored
    return None
