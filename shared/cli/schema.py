"""`chorus schema`: writes the schemas of all messages, and finds changes that break readers or writers."""

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from shared.cli.errors import CommandError
from shared.cli.flags import Json
from shared.cli.output import show_json, show_lines
from shared.config.exit_codes import Exit

Directory = Annotated[Path | None, Parameter(name="--dir", help="where the schemas are [docs/schemas]")]


def export(*, directory: Directory = None, json: Json = False) -> int:
    """Write a JSON Schema for each event, command and request, and one AsyncAPI document.

    Everything comes from the code of the contexts. Commit the files: `chorus schema
    check` compares the code with them.

    For example:

        chorus schema export
        chorus schema export --dir elsewhere --json
    """
    from shared import catalog
    from shared.config.settings import contexts_package
    from shared.schemas.files import DIRECTORY, files_of, write

    settings = catalog.read_settings(os.environ)
    files = files_of(catalog.contexts(settings).values(), title=contexts_package())
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
