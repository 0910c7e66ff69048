"""Aggregates: a list of each kind, and one through time, version by version. An account with its bookings is one too.

The list comes from the contexts. The versions come from the journals on this machine, as with `chorus show`.
"""

import shlex
from typing import Any, Final

import msgspec
from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import BadInputError, NothingThereError, Page, Values
from shared.context import Aggregate, Context
from shared.inspect.aggregate_version import AggregateVersion, NoSuchVersionError, as_of, history
from shared.inspect.asking import NoAnswerError, ask
from shared.inspect.patience import LISTED_WITHIN_S
from shared.wire.listing import AggregateList, AskList

LIMIT: Final = 50
VERSIONS_AT_MOST: Final = 200


def form(console: Console, request: Request) -> Values:
    """The form that chooses a kind of aggregate, or one by its name."""
    kinds = [
        f"{context.name}/{kind.name}" for context in console.sources.reader.contexts for kind in context.aggregates
    ]
    return {"given": request.query_params, "kinds": kinds}


async def content(console: Console, request: Request) -> Values:
    """One page of the aggregates of a kind, newest first; raises BadInputError."""
    given = request.query_params
    context, kind = _kind(console, given.get("kind", ""))
    after = given.get("after", "0")
    if not (after.isascii() and after.isdecimal() and len(after) <= 18):
        raise BadInputError(f"after={after!r} is not the number that a page ends with")
    key = given.get("key", "").strip()
    question = AskList(aggregate=kind.name, keys=(key,) if key else (), counted=True, after=int(after), limit=LIMIT)
    subject = f"api.{context.name}.list"
    values = {
        "name": f"{context.name}/{kind.name}",
        "context": context.name,
        "found": None,
        "problem": "",
        "commands": (console.sources.nats("req", subject, msgspec.json.encode(question).decode()),),
    }
    await console.sources.patience.ping_unless_silent(console.sources.broker, context.name)
    try:
        sources = console.sources
        found = await ask(
            sources.broker,
            context.name,
            "list",
            question,
            AggregateList,
            patience=sources.patience,
            within_s=LISTED_WITHIN_S,
        )
    except NoAnswerError as error:
        return {**values, "problem": f"{error}. Is it running? chorus worker {error.context}"}
    return {**values, "found": found}


async def one(console: Console, request: Request) -> Values:
    """An aggregate as of a version, with the events that led there; raises NothingThereError and DatabaseError."""
    name, aggregate = request.path_params["context"], request.path_params["aggregate"]
    context = _context(console, name)
    at = request.query_params.get("at", "")
    if at and not (at.isascii() and at.isdecimal() and len(at) <= 9):
        raise BadInputError(f"at={at!r} is no version")
    databases = console.sources.databases

    def read() -> tuple[AggregateVersion, list[AggregateVersion]]:
        past = as_of(databases, context, aggregate, int(at) if at else None)
        first = max(1, past.version - VERSIONS_AT_MOST + 1)
        return past, history(databases, context, past.aggregate, first=first, last=past.version)

    try:
        past, versions = await console.sources.offload(read)
    except NoSuchVersionError as error:
        raise NothingThereError(str(error)) from error
    state, before = _plain(past.state), _plain(versions[-2].state) if len(versions) > 1 else {}
    return {
        "context": name,
        "past": past,
        "state": [(field, _text(value), before.get(field) != value) for field, value in state.items()],
        "versions": [
            (version, changes_between(_plain(earlier.state) if earlier else {}, _plain(version.state)))
            for earlier, version in zip([None, *versions[:-1]], versions, strict=True)
        ][::-1],
        "first": versions[0].version,
        "commands": (shlex.join(["chorus", "show", name, past.aggregate, "--at", str(past.version)]),),
    }


def changes_between(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The fields that an event changed, each with its new value."""
    return [f"{field} = {_text(value)}" for field, value in after.items() if before.get(field) != value]


def _kind(console: Console, name: str) -> tuple[Context, Aggregate]:
    contexts = console.sources.reader.contexts
    found = {f"{context.name}/{kind.name}": (context, kind) for context in contexts for kind in context.aggregates}
    if name and name not in found:
        raise BadInputError(f"there is no kind of aggregate {name!r}; there are {', '.join(found)}")
    if not found:
        raise BadInputError("no context has an aggregate")
    return found[name] if name else next(iter(found.values()))


def _context(console: Console, name: str) -> Context:
    found = {context.name: context for context in console.sources.reader.contexts}
    if name not in found:
        raise NothingThereError(f"there is no context {name!r}; there are {', '.join(found)}")
    return found[name]


def _plain(state: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(state, str_keys=True)
    return plain if isinstance(plain, dict) else {"state": plain}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value), indent=-1).decode()


PAGE = Page(
    path="/aggregates",
    template="aggregates.html",
    menu="Aggregates",
    content=content,
    head="aggregates_form.html",
    head_values=form,
)
ONE = Page(
    path="/aggregate/{context}/{aggregate}",
    template="aggregate.html",
    content=one,
    live=False,
    title=lambda request: "{context}/{aggregate}".format(**request.path_params),
)
