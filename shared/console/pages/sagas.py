"""Sagas: the list of `chorus ls` with its filters, page by page."""

import shlex
from collections.abc import Sequence
from datetime import timedelta
from urllib.parse import urlencode

from starlette.requests import Request

from shared.config.spelling import did_you_mean
from shared.config.units import parse_duration
from shared.console.console import Console
from shared.console.pages.page import BadInputError, Page, Values
from shared.inspect.asking import NoAnswerError
from shared.inspect.sagas.listing import Selection, field_names, leading, list_sagas
from shared.saga import Saga

LIMIT = 50
FLAGS = ("open", "stuck", "oldest")


def form(console: Console, request: Request) -> Values:
    """The form with the filters as they are."""
    given = request.query_params
    sagas = console.sources.reader.sagas
    fields = sorted(field_names(leading(_saga(given.get("saga", ""), sagas), console.sources.reader.contexts)[1]))
    return {"given": given, "sagas": [saga.name for saga in sagas], "fields": fields, "flags": FLAGS}


async def content(console: Console, request: Request) -> Values:
    """Ask for one page of the list; raises BadInputError."""
    given, sources = request.query_params, console.sources
    saga = _saga(given.get("saga", ""), sources.reader.sagas)
    field, value = given.get("field", ""), given.get("value", "").strip()
    known = field_names(leading(saga, sources.reader.contexts)[1])
    if field and field not in known:
        raise BadInputError(f"no field has the name {field!r}{did_you_mean(field, known)}")
    after = given.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) <= 18):
        raise BadInputError(f"after={after!r} is not the number that a page ends with")
    selection = Selection(
        status=given.get("state", "").strip(),
        fields={field: value} if field and value else {},
        older_than=_duration(given.get("older", "").strip()),
        is_open="open" in given,
        stuck="stuck" in given,
        oldest_first="oldest" in given,
        after=int(after),
        limit=LIMIT,
    )
    now = sources.clock.now()
    values = {
        "now": now,
        "commands": (command(saga, selection),),
        "listing": None,
        "problem": "",
        "next": "",
        "saga": saga,
    }
    try:
        listing = await list_sagas(
            sources.broker, saga, sources.reader.contexts, selection, now, patience=sources.patience
        )
    except NoAnswerError as error:
        return {**values, "problem": f"{error}. Is it running? chorus worker {error.context}"}
    following = {**given, "after": str(listing.next)} if listing.next else {}
    return {**values, "listing": listing, "next": urlencode(following)}


def command(saga: Saga, selection: Selection) -> str:
    """The command that lists the same."""
    words = ["chorus", "ls", saga.name]
    words += [f"--{name}={value}" for name, value in (("state", selection.status), *selection.fields.items()) if value]
    if selection.older_than is not None:
        words.append(f"--older-than={selection.older_than.total_seconds():g}s")
    flags = {"open": selection.is_open, "stuck": selection.stuck, "oldest": selection.oldest_first}
    words += [f"--{name}" for name, is_set in flags.items() if is_set]
    return shlex.join([*words, *(["--after", str(selection.after)] if selection.after else [])])


def _saga(name: str, sagas: Sequence[Saga]) -> Saga:
    by_name = {saga.name: saga for saga in sagas}
    if not by_name:
        raise BadInputError("no saga is declared; declare SAGAS in sagas.py beside the contexts")
    if name and name not in by_name:
        raise BadInputError(f"no saga is called {name!r}{did_you_mean(name, by_name)}")
    return by_name[name] if name else sagas[0]


def _duration(text: str) -> timedelta | None:
    try:
        return parse_duration(text) if text else None
    except ValueError as error:
        raise BadInputError(f"older than: {error}") from error


PAGE = Page(
    path="/sagas", template="sagas.html", menu="Sagas", content=content, head="sagas_form.html", head_values=form
)
