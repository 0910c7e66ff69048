"""`chorus show`: shows an aggregate as of any version or moment."""

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter, Token

from shared.cli.adapters import databases
from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show, show_json, show_lines
from shared.config.exit_codes import Exit


def _version_or_time(_: Any, tokens: Sequence[Token]) -> int | datetime:
    """A number is a version. Raises ValueError for anything else that is no time with its zone."""
    (given,) = (token.value for token in tokens)
    if given.isdecimal():
        return int(given)
    try:
        at = datetime.fromisoformat(given)
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise ValueError(f"{given!r} is neither a version nor a time such as 2026-11-21T09:00:00Z")
    return at


def show_aggregate(
    name: Annotated[str, Parameter(name="CONTEXT", help="its context")],
    aggregate: Annotated[str, Parameter(name="AGGREGATE", help="as in event ids, such as thing-k-42, or its key")],
    /,
    *,
    at: Annotated[
        int | datetime | None,
        Parameter(
            name="--at",
            help="as of this version, or of this time in RFC 3339; else as it is now",
            converter=_version_or_time,
            show_default=False,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show an aggregate as of any version of it, or any time.

    Reads its state, and the event that led there, from the journal of its context
    in CHORUS_DATA_DIR; workers may run meanwhile.

    For example:

        chorus show CONTEXT k-42
        chorus show CONTEXT thing-k-42 --at 1 --json | jq .state
        chorus show CONTEXT k-42 --at 2026-11-21T09:00:00Z
    """
    import msgspec

    from shared import catalog
    from shared.inspect.aggregate_version import NoSuchVersionError, as_of

    settings = catalog.read_settings(os.environ)
    context = catalog.load(name, settings)
    try:
        past = as_of(databases(settings), context, aggregate, at)
    except NoSuchVersionError as error:
        raise CommandError(Exit.NO, str(error)) from error
    document = msgspec.to_builtins(past)
    if json:
        show_json(document)
        return

    from rich.json import JSON

    show_lines([f"{past.event_id} of {past.latest}  {past.type}  {past.occurred_at}"])
    show(JSON.from_data(document["state"]))
