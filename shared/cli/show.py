"""`chorus show`: shows an aggregate as of any version."""

import os
from typing import Annotated

from cyclopts import Parameter

from shared.cli.adapters import databases
from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit


def show_aggregate(
    name: Annotated[str, Parameter(name="CONTEXT", help="its context")],
    aggregate: Annotated[str, Parameter(name="AGGREGATE", help="as in event ids, such as thing-k-42, or its key")],
    /,
    *,
    version: Annotated[int | None, Parameter(help="as of this version; else as it is now")] = None,
    json: Json = False,
) -> None:
    """Show an aggregate as of any version of it.

    Reads its state, and the event that led there, from the journal of its context
    in CHORUS_DATA_DIR; workers may run meanwhile.

    For example:

        chorus show CONTEXT k-42
        chorus show CONTEXT thing-k-42 --version 1 --json | jq .state
    """
    import msgspec

    from shared import catalog
    from shared.context import Context
    from shared.inspect.aggregate_version import NoSuchVersionError, as_of

    settings = catalog.read_settings(os.environ)
    context = catalog.load(name, settings)
    if not isinstance(context, Context):
        raise CommandError(Exit.USAGE, f"{name} is a service and has no journal; name a context")
    try:
        past = as_of(databases(settings), context, aggregate, version)
    except NoSuchVersionError as error:
        raise CommandError(Exit.NO, str(error)) from error
    said = msgspec.to_builtins(past)
    if json:
        show_json(said)
        return

    from rich.json import JSON

    show_lines([f"{past.event_id} of {past.latest}  {past.type}  {past.occurred_at}"])
    show(JSON.from_data(said["state"]))
