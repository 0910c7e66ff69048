"""Holds the state of one running console: its sources, who has access, the tail of EVENTS, and the lag meter."""

from functools import cached_property
from typing import NoReturn

from shared import catalog
from shared.console.access import Access
from shared.console.bucket_report import count_values
from shared.console.live import Tail
from shared.console.sources import Fresh, Sources
from shared.console.stream_report import read_streams
from shared.flow.checks.check import check
from shared.flow.checks.finding import Finding
from shared.inspect.lag.meter import LagMeter
from shared.inspect.sagas.listing import Listing, Selection, list_sagas

STUCK_SHOWN = 20
STUCK = Selection(stuck=True, oldest_first=True, limit=STUCK_SHOWN)


class Console:
    """The pages read from it. `cookie` is the name of the cookie, which has the port, because cookies do not."""

    def __init__(self, sources: Sources, access: Access, *, cookie: str = "chorus-console") -> None:
        self.sources = sources
        self.access = access
        self.cookie = cookie
        self.tail = Tail(sources.broker, sources.clock, sources.reader.sagas)
        reader = sources.reader
        meter = LagMeter(reader.contexts, reader.sides, reader.partitions, sources.patience)
        self.lags = Fresh(lambda: meter.measure(self.sources.broker), sources.clock)
        self.stuck = Fresh(self._list_stuck, sources.clock)
        self.buckets = Fresh(lambda: count_values(self.sources), sources.clock)
        self.streams = Fresh(lambda: read_streams(self.sources), sources.clock)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The mistakes in the flow. They are those of the code, so they are looked for once."""
        reader = self.sources.reader
        return check(reader.flow, reader.sagas, catalog.file_of("sagas"))

    async def keep_pinging(self) -> NoReturn:
        """Find out which contexts are frozen, for ever, so that no page waits for them."""
        sources = self.sources
        await sources.patience.keep_pinging(sources.broker, [context.name for context in sources.reader.contexts])

    async def _list_stuck(self) -> Listing | None:
        """The sagas of the first kind that are stuck; None where none is declared. Raises NoAnswerError."""
        reader = self.sources.reader
        if not reader.sagas:
            return None
        sources, now = self.sources, self.sources.clock.now()
        return await list_sagas(sources.broker, reader.sagas[0], reader.contexts, STUCK, now, patience=sources.patience)
