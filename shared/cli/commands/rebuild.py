"""`chorus rebuild`: rebuilds the lost database of a context from its own events."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.adapters import databases, set_group_aside
from shared.cli.errors import CommandError
from shared.cli.flags import HERE, OPERATOR, Connection, Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.config.settings import Settings
    from shared.readside.group import ReadSide
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
    database once the new one is complete, and sets the old one aside. A read side
    folds EVENTS again by itself: for it, the command only sets its databases aside.

    For example:

        chorus rebuild CONTEXT
        chorus rebuild CONTEXT --force
    """
    import anyio

    from shared import catalog
    from shared.readside.group import ReadSide
    from shared.repair.rebuild import rebuild as rebuild_database
    from shared.streams.file import read_topology

    settings = catalog.read_settings(os.environ)
    context = catalog.load_member(name, settings)
    if isinstance(context, ReadSide):
        _rebuild_groups(context, settings, force=force, json=json)
        return
    partitions = read_topology(settings.streams_file).partitions

    async def run() -> "Rebuilt":
        async with connection.connected("rebuild", OPERATOR) as broker:
            return await rebuild_database(context, broker, databases(settings), partitions=partitions, force=force)

    rebuilt = anyio.run(run)
    if json:
        show_json({**rebuilt._asdict(), "set_aside": rebuilt.set_aside and str(rebuilt.set_aside)})
        return
    show_lines(_lines(name, rebuilt))


def _rebuild_groups(side: "ReadSide", settings: "Settings", *, force: bool, json: bool) -> None:
    """Set the databases of a read side aside: its groups fold EVENTS again when they start."""
    from shared.readside.group import place_of

    # EVENTS does not tell what was delivered: a new database would send everything again.
    places = [place_of(side.name, group.name) for group in side.groups if group.forwards is None]
    there = [place for place in places if (settings.data_dir / f"{place}.db").exists()]
    if there and not force:
        raise CommandError(
            Exit.NO,
            f"{', '.join(f'{place}.db' for place in there)} is there already; to fold EVENTS again, stop the workers of"
            f" {side.name} and run chorus rebuild {side.name} --force, which sets it aside",
        )
    aside = {place: set_group_aside(settings, place) for place in places}
    if json:
        show_json({place: moved and str(moved) for place, moved in aside.items()})
        return
    show_lines(
        [
            *(f"{place}.db is {moved} now" for place, moved in aside.items() if moved is not None),
            f"start the workers of {side.name}: they fold EVENTS again, and publish nothing that EVENTS has",
        ]
    )


def _lines(name: str, rebuilt: "Rebuilt") -> list[str]:
    return [
        f"{name}.db holds {rebuilt.events} events of {rebuilt.aggregates} aggregates, "
        f"{rebuilt.inbox} messages it has decided and {rebuilt.effects} calls to make",
        *([f"{rebuilt.parked} messages are parked; see chorus parked ls {name}"] if rebuilt.parked else []),
        *([f"{rebuilt.strangers} messages in EVENTS are a stranger's"] if rebuilt.strangers else []),
        *([f"the old one is {rebuilt.set_aside}"] if rebuilt.set_aside else []),
    ]
