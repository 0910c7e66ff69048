"""Searches the tables of a read side for words, by the query that takes a text."""

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from shared.inspect.asking import ask
from shared.inspect.patience import LISTED_WITHIN_S, Patience
from shared.ports.broker import Broker
from shared.readside.group import ANY, ReadSide, place_of

TEXT: Final = "text"
TEXT_AT_MOST: Final = 200


class Search(NamedTuple):
    """A query of a group whose request has the field `text`; `name` is its subject after `api.<context>.`.

    An operator asks about everybody's things, so it is not the subject for queries that name an actor.
    """

    context: str
    group: str
    name: str


class Found(NamedTuple):
    """A page of rows; `after` asks for the next one, and is None after the last."""

    rows: list[dict[str, Any]]
    after: int | None


def search_of(sides: Iterable[ReadSide]) -> Search | None:
    """The first query that takes a text; None where no read side has one."""
    for side in sides:
        for group in side.groups:
            for query in group.queries:
                if TEXT in {field.encode_name for field in msgspec.structs.fields(query.request)}:
                    return Search(side.name, group.name, f"{ANY}.{query.name}")
    return None


def question(text: str, after: int, limit: int) -> Mapping[str, Any]:
    """The request for one page."""
    return {TEXT: text, "limit": limit, **({"after": after} if after else {})}


async def search(broker: Broker, by: Search, asked: Mapping[str, Any], *, patience: Patience | None = None) -> Found:
    """The rows that are found, newest first; raises NoAnswerError."""
    service = place_of(by.context, by.group)
    answer = await ask(
        broker, by.context, by.name, asked, dict[str, Any], service=service, patience=patience, within_s=LISTED_WITHIN_S
    )
    lists = (value for value in answer.values() if isinstance(value, list))
    rows = [row for row in next(lists, []) if isinstance(row, dict)]
    return Found(rows, answer.get("after"))
