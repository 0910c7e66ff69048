"""Flow: who reacts to what, as `chorus flow` draws it, with the rate of every event, and the mistakes it finds."""

import shlex

from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import BadInputError, Page, Values
from shared.flow.drawing.board import board
from shared.flow.drawing.live import measured
from shared.flow.drawing.svg import drawing
from shared.flow.graph import UnknownNameError
from shared.flow.selection import select


def form(console: Console, request: Request) -> Values:
    """The form that selects a saga or an event."""
    reader = console.sources.reader
    return {
        "given": request.query_params,
        "sagas": [saga.name for saga in reader.sagas],
        "events": sorted(reader.flow.aggregates),
    }


async def content(console: Console, request: Request) -> Values:
    """Draw the selected part; raises BadInputError."""
    reader = console.sources.reader
    saga, event = request.query_params.get("saga") or None, request.query_params.get("from") or None
    if saga is not None and event is not None:
        raise BadInputError("a saga and an event select different parts; choose one of them")
    if saga is None and event is None and reader.sagas:
        saga = reader.sagas[0].name
    try:
        selection = select(reader.flow, reader.sagas, saga, event)
    except UnknownNameError as error:
        raise BadInputError(str(error)) from error
    pulse = console.tail.pulse
    boards = [measured(board(panel), pulse.events, pulse.edges) for panel in selection.panels]
    shown = {event for panel in selection.panels for events in panel.leads_to.values() for event in events}
    words = ["chorus", "flow", *(("--saga", saga) if saga else ()), *(("--from", event) if event else ())]
    return {
        "drawing": drawing(boards, shlex.join(words)),
        "rates": sorted(((name, pulse.events.get(name, 0.0)) for name in shown), key=lambda one: (-one[1], one[0])),
        "edges": [edge for edge in pulse.edges if edge.event in shown],
        "heard": {name: sorted({f"{one.context}" for one in reader.flow.heard(name)}) for name in shown},
        "findings": console.findings,
        "commands": (shlex.join([*words, "--live"]), "chorus flow --check"),
    }


PAGE = Page(path="/flow", template="flow.html", menu="Flow", content=content, head="flow_form.html", head_values=form)
