"""Search: the sagas whose rows in the read side have some words, as its own query finds them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import BadInputError, Page, Values
from shared.inspect.asking import NoAnswerError
from shared.inspect.searching import TEXT_AT_MOST, question, search, search_of

LIMIT: Final = 50
COLUMNS_AT_MOST: Final = 6


def form(_: Console, request: Request) -> Values:
    """The form with the words as they are."""
    return {"given": request.query_params, "at_most": TEXT_AT_MOST}


async def content(console: Console, request: Request) -> Values:
    """One page of the rows that are found; raises BadInputError."""
    given, sources = request.query_params, console.sources
    text, after = given.get("text", "").strip(), given.get("after", "0")
    if len(text) > TEXT_AT_MOST:
        raise BadInputError(f"a text has at most {TEXT_AT_MOST} characters")
    if not (after.isascii() and after.isdecimal() and len(after) <= 18):
        raise BadInputError(f"after={after!r} is not the number that a page ends with")
    values = {"text": text, "problem": "", "rows": (), "columns": (), "next": "", "commands": ("chorus ls",)}
    by = search_of(sources.reader.sides)
    if by is None:
        return {**values, "problem": "No read side has a query that takes a text."}
    if not text:
        return values
    asked = question(text, int(after), LIMIT)
    subject = f"api.{by.context}.{by.name}"
    values["commands"] = (sources.nats("req", subject, msgspec.json.encode(asked).decode()),)
    try:
        found = await search(sources.broker, by, asked, patience=sources.patience)
    except NoAnswerError as error:
        remedy = f"Is it running? chorus worker {by.context} --group {by.group}"
        return {**values, "problem": f"{error}. {remedy}"}
    keys = list(dict.fromkeys(saga.key for saga in sources.reader.sagas))
    columns = columns_of(found.rows, keys)
    return {
        **values,
        "columns": columns,
        "rows": [(key_of(row, keys), [shown(row.get(name)) for name in columns]) for row in found.rows],
        "next": urlencode({"text": text, "after": found.after}) if found.after else "",
    }


def key_of(row: Mapping[str, Any], keys: Sequence[str]) -> str:
    """The key of the saga to which a row belongs; empty for a row of none."""
    return next((row[name] for name in keys if isinstance(row.get(name), str)), "")


def columns_of(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> list[str]:
    """The fields that fit into a table: those with a text or a number, without the keys of sagas."""
    plain = [name for row in rows for name, value in row.items() if isinstance(value, str | int) and name not in keys]
    return list(dict.fromkeys(plain))[:COLUMNS_AT_MOST]


def shown(value: Any) -> str:
    """A value as text."""
    return "" if value is None else str(value)


PAGE = Page(
    path="/search", template="search.html", menu="Search", content=content, head="search_form.html", head_values=form
)
