"""`chorus reconcile`: compares the journals of contexts with the streams, and republishes lost events."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.adapters import clock, databases
from shared.cli.flags import HERE, OPERATOR, Connection, Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.context import Context
    from shared.ports.databases import Databases
    from shared.repair.reconcile import Difference

SHOWN_AT_MOST = 10


def reconcile(
    name: Annotated[str | None, Parameter(name="CONTEXT", help="one context; else all with a database here")] = None,
    /,
    *,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False, help="only compare")] = False,
    json: Json = False,
    connection: Connection = HERE,
) -> int:
    """Publish again the events that the streams have lost.

    Workers do this by themselves when they start and when they reconnect; they may
    run meanwhile. Exit 0 when streams and journals then agree, else 1: publishing
    cannot correct an event that differs in EVENTS or that no journal has.

    For example:

        chorus reconcile
        chorus reconcile CONTEXT --dry-run --json
    """
    import anyio

    from shared import catalog
    from shared.streams.file import read_topology

    settings = catalog.read_settings(os.environ)
    if name is not None:
        catalog.check_known(name)
    here = databases(settings)
    chosen = [
        context
        for context in catalog.contexts(settings).values()
        if context.name == (name or context.name) and (name is not None or here.exists(context.name))
    ]
    partitions = read_topology(settings.streams_file).partitions
    done = anyio.run(_reconcile, connection, here, chosen, None if dry_run else partitions)
    if json:
        show_json([_as_json(difference, published) for difference, published in done])
    elif not done:
        show_lines([f"there is no database in {settings.data_dir}"])
    else:
        show_lines(line for difference, published in done for line in lines_of(difference, published))
    return Exit.OK if done and all(difference.is_none for difference, _ in done) else Exit.NO


async def _reconcile(
    connection: Connection, here: "Databases", chosen: "list[Context]", partitions: int | None
) -> "list[tuple[Difference, int]]":
    """Compare each context, and publish what is missing unless `partitions` is None; count what was published."""
    from shared.repair.reconcile import compare, publish_missing

    done = []
    async with connection.connected("reconcile", OPERATOR) as broker:
        for context in chosen:
            difference, published = await compare(broker, here, context.name), 0
            if difference.missing and partitions is not None:
                published = await publish_missing(broker, here, clock(), context, partitions=partitions)
                difference = await compare(broker, here, context.name)
            done.append((difference, published))
    return done


def _as_json(difference: "Difference", published: int) -> dict[str, object]:
    return {
        "context": difference.context,
        "there": difference.there,
        "published": published,
        "missing": list(difference.missing),
        "differing": list(difference.differing),
        "unexplained": list(difference.unexplained),
    }


def lines_of(difference: "Difference", published: int) -> list[str]:
    """The lines about one context for a person; `published` of its rows were published again."""
    again = f", {published} of them published again" if published else ""
    lines = [f"{difference.context}: {difference.there} messages are in the streams{again}"]
    for what, ids in (
        ("is missing", difference.missing),
        ("differs in EVENTS", difference.differing),
        ("is in EVENTS and in no journal", difference.unexplained),
    ):
        lines += [f"  {event_id} {what}" for event_id in ids[:SHOWN_AT_MOST]]
        if len(ids) > SHOWN_AT_MOST:
            lines.append(f"  and {len(ids) - SHOWN_AT_MOST} more")
    if published and difference.missing:
        lines.append("  the server still remembers ids of lost messages: reconcile again after the duplicate_window")
    return lines
