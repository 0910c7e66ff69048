"""`chorus config`: lists the settings with their values and origins."""

import os

from shared.cli.flags import Json
from shared.cli.output import show, show_json


def config(*, json: Json = False) -> None:
    """List the settings: value, default and where each comes from.

    Each is a variable of the environment, CHORUS_ and its name in capitals.

    For example:

        chorus config
        CHORUS_LOG_LEVEL=debug chorus config --json
    """
    import msgspec

    from shared import catalog

    settings = catalog.described_settings(os.environ)
    if json:
        show_json(msgspec.to_builtins(settings))
        return

    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for column in ("setting", "value", "default", "source"):
        table.add_column(column, overflow="fold")
    for setting in settings:
        is_set = setting.source != "default"
        table.add_row(setting.name, setting.value, setting.default, setting.source, style="bold" if is_set else "")
    show(table)
