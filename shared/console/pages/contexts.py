"""Contexts: lag, rate and owner of each partition, as `chorus lag` shows them."""

from itertools import groupby

from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import Page, Values
from shared.inspect.lag.partitions import by_context

SKEWED: float = 2.0


async def content(console: Console, _: Request) -> Values:
    """Ask the owners of all partitions."""
    report = await console.lags.get()
    return {
        "contexts": [
            (summary, [*lags], report.skew[summary.context])
            for summary, (_, lags) in zip(
                by_context(report), groupby(report.lags, key=lambda lag: lag.context), strict=True
            )
        ],
        "skewed": SKEWED,
        "commands": ("chorus lag --watch", "chorus health", console.sources.nats("micro", "ls")),
    }


PAGE = Page(path="/contexts", template="contexts.html", menu="Contexts", content=content)
