"""`chorus rebuild`: rebuilds the lost database of a context from its own events."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.adapters import databases
from shared.cli.flags import HERE, OPERATOR, Connection, Json
from shared.cli.output import show_json, show_lines

if TYPE_CHECKING:
    from shared.repair.rebuild import Rebuilt


def rebuild(
    name: Annotated[str, Parameter(name="CONTEXT", help="the context whose database is lost")],
    /,
    *,
    force: Annotated[bool, Parameter(negative="", show_default=False, help="replace an existing database")] = False,
    json: Json = False,
    connection: Connection = HERE,
) -> None:
    """Rebuild the lost database of a context from EVENTS.

    The context's own events give its state, its journal, the commands it has
    answered and the parked messages. Stop its workers first. The command publishes
    nothing and makes no outside call. With --force it replaces an existing
    database once the new one is complete, and sets the old one aside.

    For example:

        chorus rebuild CONTEXT
        chorus rebuild CONTEXT --force
    """
    import anyio

    from shared import catalog
    from shared.repair.rebuild import rebuild as rebuild_database
    from shared.streams.file import read_topology

    settings = catalog.read_settings(os.environ)
    context = catalog.load(name, settings)
    partitions = read_topology(settings.streams_file).partitions

    async def run() -> "Rebuilt":
        async with connection.connected("rebuild", OPERATOR) as broker:
            return await rebuild_database(context, broker, databases(settings), partitions=partitions, force=force)

    rebuilt = anyio.run(run)
    if json:
        show_json({**rebuilt._asdict(), "set_aside": rebuilt.set_aside and str(rebuilt.set_aside)})
        return
    show_lines(_lines(name, rebuilt))


def _lines(name: str, rebuilt: "Rebuilt") -> list[str]:
    return [
        f"{name}.db holds {rebuilt.events} events of {rebuilt.aggregates} aggregates, "
        f"{rebuilt.inbox} messages it has decided and {rebuilt.effects} calls to make",
        *([f"{rebuilt.parked} messages are parked; see chorus parked ls {name}"] if rebuilt.parked else []),
        *([f"{rebuilt.strangers} messages in EVENTS are a stranger's"] if rebuilt.strangers else []),
        *([f"the old one is {rebuilt.set_aside}"] if rebuilt.set_aside else []),
    ]
