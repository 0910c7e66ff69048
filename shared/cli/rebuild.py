"""`chorus rebuild`: a lost database, made anew from what the context once said."""

import os
from typing import Annotated

from cyclopts import Parameter

from shared.cli.flags import HERE, Connection


def rebuild(
    name: Annotated[str, Parameter(name="CONTEXT", help="the context whose database is lost")],
    /,
    *,
    force: Annotated[bool, Parameter(negative="", show_default=False, help="replace a database that is there")] = False,
    connection: Connection = HERE,
) -> int:
    """Make the lost database of a context anew from EVENTS.

    The context's own events give its state, its journal and the commands it has
    answered. Stop its workers first. Nothing is published and nobody is called.

    For example:

        chorus rebuild ordering
        chorus rebuild ordering --force
    """
    import anyio

    from shared.engine.rebuild import rebuild as make_anew
    from shared.settings import load_settings

    settings = load_settings(os.environ)

    async def run() -> int:
        async with connection.connected("rebuild") as broker:
            return await make_anew(name, settings=settings, broker=broker, force=force)

    return anyio.run(run)
