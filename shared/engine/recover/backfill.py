"""Publishes `MessageParked` for messages that an older release parked without one.

A rebuild reads only EVENTS, so it would lose them.
"""

from datetime import datetime

from shared.engine.decide.outgoing import OutgoingRows, parked_aggregate
from shared.engine.route.routing import Routing
from shared.ports.store import Transaction
from shared.wire.bodies import BODY_BYTES_AT_MOST


def backfill_parked(transaction: Transaction, routing: Routing, now: datetime) -> int:
    """Append the missing events, in the order in which the messages were parked; returns their number."""
    aggregates = {parked_aggregate(message_id): message_id for message_id in transaction.parked.message_ids()}
    published = transaction.with_events(aggregates)
    missing = [message_id for aggregate, message_id in aggregates.items() if aggregate not in published]
    if not missing:
        return 0
    context = routing.context
    outgoing = OutgoingRows(context.name, schema_version=context.schema_version, partitions=routing.partitions, now=now)
    hashes = transaction.inbox_hashes(missing)
    rows = []
    for waiting in transaction.parked.by_message_ids(missing):
        message = routing.parked(waiting)
        content = hashes.get(message.message_id, message.content)  # The hash of the whole body, before it was cut.
        row = waiting.row._replace(body=waiting.row.body[: BODY_BYTES_AT_MOST + 1])
        rows.append(outgoing.parked(message._replace(content=content), row))
    transaction.append(rows)
    return len(rows)
