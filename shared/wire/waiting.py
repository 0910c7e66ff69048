"""Everything in one context that waits: the answer to `nats req api.CONTEXT.waiting '{}'`, in pages.

Any process of the context answers, for all of its partitions, from the database that they share.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Literal, TypeAlias, get_args

from msgspec import Meta, Struct

Kind: TypeAlias = Literal["call", "parked", "refused", "unpublished"]
"""An open call to the outside, a parked message, an event that the broker refuses, an event not published yet."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
PAGE_AT_MOST: Final = 1_000


class AskWaiting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request: the items of one kind, or of each kind, that come after a number."""

    kind: Kind | None = None
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_AT_MOST)] = 100


class WaitingItem(Struct, frozen=True, kw_only=True):
    """One thing that waits, with the key whose saga it holds up.

    The items of one kind are sorted by `number`. `text` is the last error of a call, or the reason
    of a refusal or a parking; it is empty for a message that only waits behind an earlier one of its key.
    """

    kind: Kind
    number: int
    key: str
    id: str
    type: str
    since: str
    attempts: int = 0
    text: str = ""


class Waiting(Struct, frozen=True, kw_only=True):
    """The answer. `counts` says how many items of each kind there are; `next` where a longer list of a kind goes on."""

    context: str
    at: str
    counts: Mapping[Kind, int]
    items: tuple[WaitingItem, ...]
    next: Mapping[Kind, int]
