"""`chorus flow`: draws the graph of events, commands, calls and deadlines, and finds the mistakes in it."""

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import HERE, Connection, Json
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.flow.drawing.board import Board
    from shared.flow.graph import Flow
    from shared.flow.rates.latest import Latest
    from shared.flow.selection import Selection
    from shared.saga import Saga

Format = Literal["text", "mermaid", "svg", "markdown", "json"]


def flow(
    *,
    saga: Annotated[str | None, Parameter(help="only the part of this saga")] = None,
    from_: Annotated[str | None, Parameter(name="--from", help="only what can follow from this event")] = None,
    check: Annotated[bool, Parameter(negative="", show_default=False, help="find mistakes instead of drawing")] = False,
    topologies: Annotated[
        bool, Parameter(negative="", show_default=False, help="draw the tables and topologies of the read side")
    ] = False,
    live: Annotated[
        bool, Parameter(negative="", show_default=False, help="with rates and durations of the last minute")
    ] = False,
    format: Annotated[Format, Parameter(help="how to print it")] = "text",
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Draw who reacts to what, and find the mistakes.

    Everything comes from the code of the contexts: the events, the policies that
    hear them, the commands they give, the calls to the outside and the deadlines.
    Without --saga or --from it shows every context by itself. --check finds
    mistakes of the whole, such as an event that nobody hears or a wait without a
    deadline, each with its file and line; exit 1 when there is one. --format
    markdown writes a page with the context map and the board of every saga. Only
    --live asks a server: how often each event came in the last minute, and how long
    after its cause.

    For example:

        chorus flow
        chorus flow --check
        chorus flow --saga NAME
        chorus flow --saga NAME --live
        chorus flow --from CONTEXT.EVENT --format svg > flow.svg
        chorus flow --topologies
    """
    from shared import catalog
    from shared.flow.graph import UnknownNameError, derive
    from shared.flow.selection import select

    if saga is not None and from_ is not None:
        raise CommandError(Exit.USAGE, "--saga and --from select different parts; give one of them")
    if live and (check or topologies or format == "markdown"):
        raise CommandError(Exit.USAGE, "--live measures what is drawn; leave --check, --topologies and markdown away")
    if check and (saga or from_ or format != "text"):
        raise CommandError(Exit.USAGE, "--check looks at the whole system; give it alone, or with --json")
    settings = catalog.read_settings(os.environ)
    if topologies:
        if saga or from_ or check or json or format not in ("text", "mermaid"):
            raise CommandError(Exit.USAGE, "--topologies goes alone, or with --format text or mermaid")
        return _topologies(settings, format)
    graph = derive(catalog.contexts(settings))
    sagas = catalog.declared_in("sagas", "SAGAS") or ()
    if check:
        return _check(graph, sagas, json=json)
    if format == "markdown" and not json:
        return _page(settings, graph, sagas, saga, from_)
    try:
        selection = select(graph, sagas, saga, from_)
    except UnknownNameError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    _draw(graph, selection, "json" if json else format, _latest(connection) if live else None)
    return Exit.OK


def _latest(connection: Connection) -> "Latest":
    import anyio

    from shared.cli.adapters import clock
    from shared.flow.rates.latest import read_latest

    async def read() -> "Latest":
        async with connection.connected("flow") as broker:
            return await read_latest(broker, clock().now())

    return anyio.run(read)


def _topologies(settings: "Settings", format: Format) -> int:
    from shared import catalog
    from shared.flow.drawing.topologies import as_mermaid, as_text

    sides = catalog.load_all(settings).read_sides.values()
    show_lines(as_mermaid(sides) if format == "mermaid" else as_text(sides))
    return Exit.OK


def _check(graph: "Flow", sagas: "tuple[Saga, ...]", *, json: bool) -> int:
    import msgspec

    from shared import catalog
    from shared.flow.checks.check import check

    findings = check(graph, sagas, catalog.file_of("sagas"))
    if json:
        show_json(msgspec.to_builtins(findings))
    else:
        show_lines(f"{one.place}: {one.rule}: {one.text}\n    {one.remedy}" for one in findings)
        if not findings:
            show_lines([f"no mistakes; contexts: {len(graph.contexts)}, sagas: {len(sagas)}"])
    return Exit.NO if findings else Exit.OK


def _page(settings: "Settings", graph: "Flow", sagas: "tuple[Saga, ...]", saga: str | None, event: str | None) -> int:
    from shared import catalog
    from shared.flow.drawing.markdown import page
    from shared.flow.relations import relations

    if saga is not None or event is not None:
        raise CommandError(
            Exit.USAGE, "--format markdown writes a page of the whole system; leave --saga and --from away"
        )
    sides = catalog.load_all(settings).read_sides.values()
    show_lines(page(graph, sagas, tuple(relations(graph, sides, catalog.directory(), catalog.place))))
    return Exit.OK


def _draw(graph: "Flow", selection: "Selection", format_: Format, latest: "Latest | None") -> None:
    match format_:
        case "json":
            show_json(as_json(selection) | ({} if latest is None else live_as_json(selection, latest)))
        case "mermaid":
            from shared.flow.drawing.mermaid import flowchart

            show_lines(flowchart(_boards(selection, latest)))
        case "svg":
            from shared.flow.drawing.svg import drawing

            show_lines([drawing(_boards(selection, latest), f"chorus flow {selection.title}".strip())])
        case "text":
            from shared.flow.drawing.text import edges, lists, trees

            show(*(trees(graph, selection) if selection.first else lists(selection)))
            if latest is not None:
                show("", *edges(selection, latest))


def _boards(selection: "Selection", latest: "Latest | None") -> "list[Board]":
    from shared.flow.drawing.board import board
    from shared.flow.drawing.live import measured

    boards = [board(panel) for panel in selection.panels]
    return boards if latest is None else [measured(one, latest.events, latest.edges) for one in boards]


def live_as_json(selection: "Selection", latest: "Latest") -> dict[str, Any]:
    """The rates of the selected events, and of the edges to them, over `seconds`."""
    import msgspec

    said = {event for panel in selection.panels for events in panel.leads_to.values() for event in events}
    return {
        "seconds": latest.seconds,
        "rates": {event: per_s for event, per_s in latest.events.items() if event in said},
        "edges": msgspec.to_builtins([edge for edge in latest.edges if edge.event in said]),
    }


def as_json(selection: "Selection") -> dict[str, Any]:
    """The selected reactions and the events that each command leads to."""
    return {
        "title": selection.title,
        "first": list(selection.first),
        "reactions": [
            {
                "context": panel.context,
                "kind": cause.kind,
                "name": cause.name,
                "on": cause.on or None,
                "command": command,
                "asks": list(cause.asks),
            }
            for panel in selection.panels
            for command, causes in panel.commands.items()
            for cause in causes
        ],
        "commands": [
            {"command": command, "events": list(events)}
            for panel in selection.panels
            for command, events in panel.leads_to.items()
        ],
        "events": [
            {"event": event, "notes": note.split("; ") if note else []}
            for panel in selection.panels
            for event, note in sorted(panel.notes.items())
        ],
    }
