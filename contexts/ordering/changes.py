"""Whether a change of a basket's lines was asked for before, by the id that the client gave to it.

Pure: no I/O, clock, randomness or logging. A change without an id counts each time that it is asked for.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from msgspec import json

from contexts.ordering.commands import AddItemsToBasket, RemoveItemsFromBasket
from contexts.ordering.events import ItemsAddedToBasket, ItemsRemovedFromBasket, RequestId
from shared.context import Rejected
from shared.wire.messages import content_hash

REQUESTS_AT_MOST: Final = 100
"""A basket remembers the newest ids, so that its state stays small."""

Requests: TypeAlias = Mapping[RequestId, str]
"""A hash of each change by its id, oldest first."""
Asked: TypeAlias = AddItemsToBasket | RemoveItemsFromBasket
Done: TypeAlias = ItemsAddedToBasket | ItemsRemovedFromBasket

_encode = json.Encoder(order="deterministic").encode


def asked_before(command: Asked, requests: Requests) -> tuple[Rejected, ...]:
    """The answer to a change whose id is known: nothing, unless it is another change."""
    if command.request_id is not None and requests[command.request_id] == _hash(command):
        return ()
    return (Rejected.at("id_known_otherwise", "$.request_id", "it is another change; use a new id"),)


def remembered(requests: Requests, event: Done) -> dict[RequestId, str]:
    """The changes that count as asked for after this one."""
    if event.request_id is None:
        return dict(requests)
    newest = [*requests.items(), (event.request_id, _hash(event))]
    return dict(newest[-REQUESTS_AT_MOST:])


def _hash(change: Asked | Done) -> str:
    """Equal for a command and its event."""
    added_by = change.customer_id if isinstance(change, AddItemsToBasket | ItemsAddedToBasket) else None
    return content_hash(_encode((added_by, change.lines))).hex()
