"""`chorus schema`: writes the schemas of all messages, and finds changes that break readers or writers."""

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

Directory = Annotated[Path | None, Parameter(name="--dir", help="where the schemas are [docs/schemas]")]


def export(*, directory: Directory = None, json: Json = False) -> int:
    """Write the schemas of all messages, from the code.

    These are a JSON Schema of each event, command and request, and one AsyncAPI
    document. Commit them: `chorus schema check` compares the code with them.

    For example:

        chorus schema export
        chorus schema export --dir elsewhere --json
    """
    from shared import catalog
    from shared.config.settings import contexts_package
    from shared.schemas.files import DIRECTORY, files_of, write

    settings = catalog.read_settings(os.environ)
    files = files_of(catalog.members(settings).values(), title=contexts_package())
    place = directory or DIRECTORY
    try:
        changed = write(place, files)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}; make it writable, or give another --dir"
        raise CommandError(Exit.MISCONFIGURED, problem) from error
    if json:
        show_json({"written": [*changed.written], "removed": [*changed.removed]})
        return Exit.OK
    show_lines(f"wrote {place / path}" for path in changed.written)
    show_lines(f"removed {place / path}" for path in changed.removed)
    if not any(changed):
        show_lines([f"nothing to do, the {len(files)} files in {place} match the code"])
    return Exit.OK


def check(
    *,
    mode: Annotated[
        Literal["backward", "forward", "full"] | None,
        Parameter(help="of all messages [full for events, backward for the others]"),
    ] = None,
    directory: Directory = None,
    json: Json = False,
) -> int:
    """Name each change of a message that breaks readers or writers.

    Compares the code with the committed schemas, field by field. Backward: the code
    reads what was written before. Forward: readers of the committed form read what
    the code writes. Exit 0 when nothing breaks, else 1.

    For example:

        chorus schema check
        chorus schema check --mode full --json
    """
    from shared import catalog
    from shared.schemas.check import check as compare
    from shared.schemas.files import DIRECTORY, committed_schemas, schemas_of

    place = directory or DIRECTORY
    now = schemas_of(catalog.members(catalog.read_settings(os.environ)).values())
    try:
        before = committed_schemas(place)
    except (OSError, ValueError) as error:
        raise CommandError(Exit.MISCONFIGURED, f"{error}; run chorus schema export") from error
    if not before:
        raise CommandError(Exit.MISCONFIGURED, f"{place} has no schemas to compare with; run chorus schema export")
    findings = compare(before, now, mode)
    if json:
        show_json([finding._asdict() for finding in findings])
    else:
        show_lines(f"{one.message} {one.path}: {one.direction}: {one.text}\n    {one.remedy}" for one in findings)
        if not findings:
            differing = sum(before.get(path) != now.get(path) for path in before.keys() | now.keys())
            grown = f"; {differing} differ, so run chorus schema export" if differing else ""
            show_lines([f"nothing breaks; schemas: {len(now)}{grown}"])
    return Exit.NO if findings else Exit.OK
