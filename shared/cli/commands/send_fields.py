"""`chorus send CONTEXT.COMMAND --help`: shows what a command does, its fields, and an example."""

import os
import shlex

from shared.cli.errors import CommandError
from shared.cli.output import show_lines
from shared.config.exit_codes import Exit


def show_fields(name: str) -> None:
    """Print the fields of a command that a client sets."""
    from inspect import getdoc

    from shared import catalog
    from shared.send.compose import ComposeError, find_command
    from shared.send.fields import fields_of

    try:
        loaded = catalog.load_all(catalog.read_settings(os.environ))
        if (wrong := loaded.reason(name.partition(".")[0])) is not None:
            raise wrong
        context, command = find_command(name, loaded.members)
    except ComposeError as error:
        raise CommandError(Exit.USAGE, str(error)) from error
    full = f"{context}.{command.__name__}"
    fields = fields_of(command)
    words = [f"{field.path}={field.example}" for field in fields if field.required]
    width = max((len(field.path) for field in fields), default=0)
    needed = {field: "required" if field.required else f"default {field.default or 'none'}" for field in fields}
    show_lines(
        [
            f"Usage: chorus send {full} KEY [FIELD=VALUE...] [OPTIONS]",
            "",
            getdoc(command) or "",
            "",
            "Fields:",
            *([f"  {field.path:{width}}  {field.kind}; {needed[field]}" for field in fields] or ["  none"]),
            "",
            "For example:",
            "",
            f"    {shlex.join(['chorus', 'send', full, 'my-key', *words, '--wait'])}",
            "",
            "chorus send --help shows the options.",
        ]
    )
