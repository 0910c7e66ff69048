"""The pages of the console. Each says where it is, its template, and how its content is read."""

from typing import Final

from shared.console.pages import (
    aggregates,
    contexts,
    flow,
    overview,
    parked,
    read_side,
    saga,
    sagas,
    search,
    streams,
)
from shared.console.pages.page import Action, Page

PAGES: Final[tuple[Page, ...]] = (
    overview.PAGE,
    sagas.PAGE,
    search.PAGE,
    saga.PAGE,
    saga.MESSAGE,
    parked.PAGE,
    parked.ONE,
    contexts.PAGE,
    read_side.PAGE,
    streams.PAGE,
    flow.PAGE,
    aggregates.PAGE,
    aggregates.ONE,
)
ACTIONS: Final[tuple[Action, ...]] = (parked.RETRY, parked.SKIP)
