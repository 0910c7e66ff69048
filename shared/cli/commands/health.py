"""`chorus health`: tells an operator or a container's health check whether workers are well."""

import os
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.adapters import databases
from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from shared.inspect.health import Health


def health(
    name: Annotated[str | None, Parameter(name="CONTEXT", help="one context; else all of them")] = None,
    /,
    *,
    here: Annotated[
        bool, Parameter(negative="", show_default=False, help="only contexts that have a process on this host")
    ] = False,
    json: Json = False,
) -> int:
    """Tell whether the workers on this machine are well.

    Exit 0 if every context has a process, no process hangs, is behind or raises an
    alarm, and no message is parked, refused or long unpublished. Else exit 1, with
    a line for each trouble and its remedy. Processes on this host count before
    those on other hosts. Reads CHORUS_DATA_DIR.

    For example:

        chorus health CONTEXT
        chorus health --json
    """
    from shared import catalog
    from shared.inspect.health import examine

    if name is not None:
        catalog.check_known(name)
    if name is not None and here:
        raise CommandError(Exit.USAGE, "--here chooses the contexts itself; leave out CONTEXT or --here")
    settings = catalog.read_settings(os.environ)
    directory = settings.data_dir
    found = examine(directory, databases(settings), catalog.names() if name is None else [name], here=here)
    if json:
        import msgspec

        show_json({one.context: {"well": one.well, **msgspec.to_builtins(_named(one))} for one in found})
    elif not found:
        show_lines([f"no worker runs on this host with {directory}; start one: chorus worker CONTEXT"])
    else:
        show_lines(line for one in found for line in _lines(one))
    return Exit.OK if found and all(one.well for one in found) else Exit.NO


def _lines(one: "Health") -> list[str]:
    if one.well:
        owned = sorted({number for p in one.processes if p.report for number in p.report.owned})
        return [f"{one.context}: alive{', owns partition ' + ', '.join(map(str, owned)) if owned else ''}"]
    return [f"{one.context}: {trouble.what}; {trouble.remedy}" for trouble in one.troubles]


def _named(one: "Health") -> dict[str, object]:
    return {
        "troubles": one.troubles,
        "waiting": one.waiting,
        "processes": [process._asdict() for process in one.processes],
    }
