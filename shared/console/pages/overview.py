"""Overview: what is stuck first, then rates and durations, then each context in one line. As `chorus top` shows it."""

import anyio
from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import Page, Values
from shared.inspect.asking import NoAnswerError
from shared.inspect.lag.partitions import Report, by_context
from shared.inspect.sagas.listing import Listing


async def content(console: Console, _: Request) -> Values:
    """Ask all contexts, and show the tail's rates."""
    listings: list[Listing | None] = []
    reports: list[Report] = []
    problem = ""

    async def stuck() -> None:
        nonlocal problem
        try:
            listings.append(await console.stuck.get())
        except NoAnswerError as error:
            problem = f"The status of the sagas is not known: {error}. Is it running? chorus worker {error.context}"

    async def lag() -> None:
        reports.append(await console.lags.get())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stuck)
        tasks.start_soon(lag)
    return {
        "listing": listings[0] if listings else None,
        "problem": problem,
        "pulse": console.tail.pulse,
        "contexts": by_context(reports[0]),
        "groups": reports[0].groups,
        "commands": ("chorus top", "chorus ls --stuck"),
    }


PAGE = Page(path="/", template="overview.html", menu="Overview", content=content)
