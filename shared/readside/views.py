"""Declares the tables of the read side, as folds of events, and the queries on them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Final, NamedTuple, Protocol

import msgspec
from msgspec import Meta, Struct

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

WAITED_S_AT_MOST: Final = 30.0
PAGE_AT_MOST: Final = 500


class Told(NamedTuple):
    """How an event reached the group: its place in EVENTS, its key, and the time at which it occurred."""

    sequence: int
    key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class On:
    """Whenever `source` publishes `event`, the row under the event's key becomes `fold(row, event, told)`.

    `row` is None when there is none yet. The fold is pure; it returns the row itself when nothing changes.
    """

    source: str
    event: type[Struct]
    fold: Callable[[Any, Any, Told], Any]


@dataclass(frozen=True, slots=True)
class Follows:
    """Whenever a row of the table named `table` changes, the row under `key(after)` becomes `fold(row, before, after)`.

    `before` and `row` are None when there is none yet.
    """

    table: str
    key: Callable[[Any], str]
    fold: Callable[[Any, Any, Any], Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The actor to whom a row belongs: `field` of the row, or of the row of `table` that has the same key.

    `refusal` is the reason by which a query is refused that asks in the name of another actor.
    """

    field: str
    refusal: str
    table: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows by key. A row is a Struct, kept as JSON beside the EVENTS sequence of its last change.

    `columns` are fields of the row by which queries select. `lists` are columns of which a row has several values; a
    value that was added stays. `text(row)` is the text by which a search finds a row, taken when the row is new. A
    table with `bucket` is also a KV bucket of its name, which has each row under its key. Actors see the rows of which
    they are the `owner`; a table without an owner is not for them. A table is listed and searched for an actor by a
    column with the owner.
    """

    name: str
    row: type[Struct]
    on: tuple[On, ...] = ()
    follows: Follows | None = None
    columns: tuple[str, ...] = ()
    lists: Mapping[str, Callable[[Any], Iterable[str]]] = field(default_factory=lambda: NOTHING)
    text: Callable[[Any], str] | None = None
    bucket: bool = False
    owner: Owner | None = None


class Asked(Struct, frozen=True, kw_only=True):
    """The fields of every query: it waits up to `within_s` until EVENTS is known up to `at_least`, or is refused."""

    at_least: Annotated[int, Meta(ge=0)] = 0
    within_s: Annotated[float, Meta(ge=0, le=WAITED_S_AT_MOST)] = 2.0


class Page(NamedTuple):
    """Rows, newest first; `after` asks for the next page, and is None when there is none."""

    rows: list[msgspec.Raw]
    after: int | None


class Counted(NamedTuple):
    """How many records were late, or stayed unmatched, at a place of a topology."""

    place: str
    what: str
    number: int


class View(Protocol):
    """The tables of a group as they are at one position."""

    def row(self, table: str, key: str) -> msgspec.Raw | None:
        """One row, as JSON."""
        ...

    def page(
        self,
        table: str,
        *,
        where: Mapping[str, str | None] = NOTHING,
        since: tuple[str, str | None, str | None] | None = None,
        after: int | None = None,
        at_most: int,
    ) -> Page:
        """Rows whose columns have these values; None is any value. `since` is a column, its least value and its end."""
        ...

    def search(
        self,
        table: str,
        text: str,
        *,
        where: Mapping[str, str | None] = NOTHING,
        after: int | None = None,
        at_most: int,
    ) -> Page:
        """Rows whose text has every word of `text`, a word may be the beginning of one; `where` is that of `page`."""
        ...

    def counts(self) -> list[Counted]:
        """The counts of late and unmatched records, since the first event."""
        ...


class UnknownRowError(Exception):
    """There is nothing to answer a query with; the text says what is missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Requests on `api.<context>.<name>`, whose body is `request`, answered by `answer(request, view)`.

    A request with `Acting-For` is answered from the rows of that actor alone (`Table.owner`).
    The answer is a mapping, to which `as_of` is added: the EVENTS sequence and time that the group knows.
    """

    name: str
    request: type[Asked]
    answer: Callable[[Any, View], Mapping[str, Any]]
