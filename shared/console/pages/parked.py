"""Parked: what waits for an operator, as `chorus parked` shows it, and the forms that retry or skip it.

A verdict is recorded in the database of the context by the function that the command calls: who, and why. The console
also logs it. The name is that of the person who has logged in.
"""

import getpass
import shlex
from collections.abc import Mapping
from typing import Final

import structlog
from starlette.requests import Request

from shared.console.access import Person
from shared.console.console import Console
from shared.console.pages.page import Action, BadInputError, NothingThereError, Page, Values
from shared.ports.broker import BrokerError, Stored
from shared.repair import parked as ops
from shared.repair.results import wait_for_results
from shared.repair.unresolved import Parked, Refused, Undelivered, Unresolved, why_no_skip

SHOWN_AT_MOST: Final = 500
REASON_AT_MOST: Final = 500
WAITS_S: Final = 3.0
"""A worker acts on a verdict within two seconds."""

logger = structlog.get_logger()


async def content(console: Console, _: Request) -> Values:
    """Everything that waits, oldest first."""
    found = await unresolved(console)
    return {
        "unresolved": found[:SHOWN_AT_MOST],
        "left_out": max(0, len(found) - SHOWN_AT_MOST),
        "commands": ("chorus parked ls",),
    }


async def one(console: Console, request: Request) -> Values:
    """One message or event, whole, with its forms; raises NothingThereError."""
    found = await unresolved(console)
    chosen = _chosen(found, request)
    skippable = not isinstance(chosen, Refused) and bool(chosen.reason)
    return {
        "one": chosen,
        "standing": await _standing(console, chosen),
        "is_parked": isinstance(chosen, Parked),
        "is_undelivered": isinstance(chosen, Undelivered),
        "why_no_skip": "" if skippable else why_no_skip(chosen, found),
        "reason_at_most": REASON_AT_MOST,
        "commands": (
            f"chorus parked show {chosen.number}",
            f"chorus parked retry {chosen.number}",
            *((f"chorus parked skip {chosen.number} --why REASON",) if skippable else ()),
        ),
    }


async def retry(console: Console, request: Request, _: Mapping[str, str]) -> Values:
    """Have a message decided again, or an event published again."""
    chosen = _chosen(await unresolved(console), request)
    name = who(request.state.person)
    recorded = await ops.retry(console.sources.databases, [chosen], who=name)
    logger.warning("parked_retried", number=chosen.number, message_id=chosen.message_id, who=name)
    return await _outcome(console, chosen, "retried", recorded, f"chorus parked retry {chosen.number}")


async def skip(console: Console, request: Request, fields: Mapping[str, str]) -> Values:
    """Leave a message out for good. Raises BadInputError without a reason, and for a message that cannot be skipped."""
    found = await unresolved(console)
    chosen = _chosen(found, request)
    why = fields.get("why", "").strip()
    if not why or len(why) > REASON_AT_MOST:
        raise BadInputError(f"say why, in at most {REASON_AT_MOST} characters: the reason is recorded with your name")
    if isinstance(chosen, Refused) or not chosen.reason:
        raise BadInputError(f"{chosen.number} cannot be skipped: {why_no_skip(chosen, found)}")
    name = who(request.state.person)
    recorded = await ops.skip(console.sources.databases, chosen, who=name, why=why)
    logger.warning("parked_skipped", number=chosen.number, message_id=chosen.message_id, who=name, why=why)
    command = shlex.join(["chorus", "parked", "skip", chosen.number, "--why", why])
    return await _outcome(console, chosen, "skipped", recorded, command, why)


async def unresolved(console: Console) -> list[Unresolved]:
    """The parked messages, the refused events and the undelivered ones, of the databases on this machine."""
    sources = console.sources

    def read() -> list[Unresolved]:
        return [
            *ops.parked_in(sources.databases, sources.journals),
            *ops.refused_in(sources.databases, sources.journals),
            *ops.undelivered_in(sources.databases, sources.journals),
        ]

    return await sources.offload(read)


def who(person: Person) -> str:
    """The name that is recorded: that of the person, or else of the user who runs the console."""
    return f"{person.name or getpass.getuser()} (console)"


def _chosen(found: list[Unresolved], request: Request) -> Unresolved:
    number = "{context}/{number}".format(**request.path_params)
    chosen = [one for one in found if one.number == number]
    if not chosen:
        raise NothingThereError(f"nothing is parked as {number} any more; see the list under Parked")
    return chosen[0]


async def _standing(console: Console, chosen: Unresolved) -> Stored | None:
    """The message that has the id of a refused event."""
    if not isinstance(chosen, Refused) or not chosen.sequence:
        return None
    try:
        return await console.sources.broker.get(chosen.stream, chosen.sequence)
    except BrokerError:
        return None


async def _outcome(
    console: Console, chosen: Unresolved, verdict: str, recorded: int, command: str, why: str = ""
) -> Values:
    sources = console.sources
    found = await wait_for_results(sources.databases, [chosen], sources.clock, timeout_s=WAITS_S)
    return {
        "one": chosen,
        "verdict": verdict,
        "recorded": recorded,
        "results": found,
        "why": why,
        "commands": (command,),
    }


PAGE = Page(path="/parked", template="parked.html", menu="Parked", content=content)
ONE = Page(
    path="/parked/{context}/{number}",
    template="parked_one.html",
    content=one,
    live=False,
    title=lambda request: "{context}/{number}".format(**request.path_params),
)
RETRY = Action(
    path="/parked/{context}/{number}/retry", title="Retried", template="parked_outcome.html", carry_out=retry
)
SKIP = Action(path="/parked/{context}/{number}/skip", title="Skipped", template="parked_outcome.html", carry_out=skip)
