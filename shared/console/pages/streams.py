"""Streams: their contents, their consumers, and how they differ from the declaration, as `chorus streams plan` says."""

from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import Page, Values
from shared.derived.topology import STREAMS


async def content(console: Console, _: Request) -> Values:
    """Show the last report."""
    report, nats = await console.streams.get(), console.sources.nats
    return {
        "streams": [(one.name, one.info, one.consumers) for one in report.streams],
        "differences": report.differences,
        "commands": (
            "chorus streams plan",
            *(nats("stream", "info", name) for name in STREAMS),
            nats("consumer", "report", STREAMS[1]),
        ),
    }


PAGE = Page(path="/streams", template="streams.html", menu="Streams", content=content)
