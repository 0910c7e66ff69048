"""The aggregates of one kind: the answer to `nats req api.CONTEXT.list '{"aggregate": "thing"}'`, in pages.

Any process of the context answers, for all of its partitions, from the database that they share.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from msgspec import Meta, Struct

PAGE_AT_MOST: Final = 1_000


class AskList(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The request. Without `aggregate` it is about the context's first kind.

    `status` chooses by the field of that name in the state, `fields` by other fields at any depth of the state, `keys`
    by the keys. `unless` leaves out the aggregates that have an event of one of these types. `before` is a time, RFC
    3339: only aggregates that began earlier. `after` is `next` of the page before. `counted` asks for `counts`.
    """

    aggregate: str = ""
    status: str = ""
    fields: Mapping[str, str] = {}
    keys: Annotated[tuple[str, ...], Meta(max_length=PAGE_AT_MOST)] = ()
    unless: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    before: str = ""
    oldest_first: bool = False
    counted: bool = False
    after: Annotated[int, Meta(ge=0)] = 0
    limit: Annotated[int, Meta(ge=1, le=PAGE_AT_MOST)] = 100


class Listed(Struct, frozen=True, kw_only=True):
    """One aggregate, with its first and its last event. `status` is empty where its state has no such field."""

    id: str
    key: str
    status: str
    version: int
    began_at: str
    last_event: str
    last_at: str


class AggregateList(Struct, frozen=True, kw_only=True):
    """The answer. `counts` says how many aggregates of the kind have each status, regardless of the filters.

    `next` is 0 on the last page.
    """

    context: str
    aggregate: str
    at: str
    counts: Mapping[str, int]
    items: tuple[Listed, ...]
    next: int
