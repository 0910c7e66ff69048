"""`chorus new`: makes a new system, and a new context or read side in the system of this directory."""

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.output import show_lines
from shared.config.exit_codes import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from shared.config.settings import Settings
    from shared.new.context import Written


def system(
    directory: Annotated[Path, Parameter(name="DIR", help="a directory that is empty or does not exist")], /
) -> None:
    """Make a small system of two contexts that runs.

    Writes two contexts, their saga, a demo, tests in virtual time, streams.yaml and
    a pyproject.toml that takes Chorus from where this one was installed. The
    README.md there has the two commands that run and test it.

    For example:

        chorus new system travel
    """
    from shared.new.changes import NewError
    from shared.new.system import write_system

    try:
        files = write_system(directory)
    except NewError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    show_lines(
        [
            f"{directory}: wrote {len(files)} files",
            "Next:",
            f"  cd {shlex.quote(str(directory))}",
            "  uv run chorus demo",
            "  uv run pytest",
        ]
    )


def context(
    name: Annotated[str, Parameter(name="NAME", help="a to z and digits, such as a plural")],
    /,
    *,
    hears: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="CONTEXT.EVENT; give it once for each event")
    ] = (),
) -> None:
    """Make a context in the system of this directory.

    Writes a context that reserves something and gives it back, with its tests and
    canvas, and enters it into the files that list all contexts. Whenever a context
    says an event that it hears, it reserves. All checks pass afterwards; rename and
    change what it does from there.

    For example:

        chorus new context NAME
        chorus new context NAME --hears CONTEXT.EVENT
    """
    from shared.new.context import write_context

    _show_written(write_context, name, hears)


def read_side(
    name: Annotated[str, Parameter(name="NAME", help="a to z and digits, such as a plural")],
    /,
    *,
    hears: Annotated[
        tuple[str, ...], Parameter(negative="", show_default=False, help="CONTEXT.EVENT; give it once for each event")
    ] = (),
) -> None:
    """Make a read side in the system of this directory.

    Writes a group with a table and two queries: what was said last under each key,
    and how often. With its tests and canvas; all checks pass afterwards. Change
    what it keeps from there.

    For example:

        chorus new readside NAME --hears CONTEXT.EVENT
    """
    from shared.new.context import write_read_side

    _show_written(write_read_side, name, hears)


def _show_written(
    write: "Callable[[str, tuple[str, ...], Path, Settings], Written]", name: str, hears: tuple[str, ...]
) -> None:
    from shared import catalog
    from shared.new.changes import NewError

    settings = catalog.read_settings(os.environ)
    try:
        written = write(name, hears, Path.cwd(), settings)
    except NewError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    here = Path.cwd()
    show_lines(
        [
            *(f"wrote {file.relative_to(here) if file.is_relative_to(here) else file}" for file in written.files),
            "Next:",
            *(f"  {step}" for step in written.next_steps),
        ]
    )
