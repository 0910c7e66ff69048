"""`chorus health`: what a container's health check asks."""

import os
import time
from typing import Annotated

from cyclopts import Parameter

from shared.cli.flags import Json
from shared.cli.output import show_json, show_lines
from shared.exits import Exit

ALIVE_WITHIN_S = 10.0
"""A worker that lives touches its file every second."""


def health(
    name: Annotated[str | None, Parameter(name="CONTEXT", help="one context; else all that ran here")] = None,
    /,
    *,
    json: Json = False,
) -> int:
    """Tell whether a worker on this machine is alive.

    Exit 0 if it said so within the last 10 s, else 1. Looks in CHORUS_DATA_DIR.

    For example:

        chorus health ordering
        chorus health --json
    """
    from shared.messages import check_key
    from shared.settings import load_settings

    directory = load_settings(os.environ).data_dir
    files = [directory / f"{check_key(name)}.alive"] if name else sorted(directory.glob("*.alive"))
    ages = {file.stem: time.time() - file.stat().st_mtime if file.exists() else None for file in files}
    alive = {context: age is not None and age <= ALIVE_WITHIN_S for context, age in ages.items()}
    if json:
        show_json({context: {"alive": alive[context], "silent_s": ages[context]} for context in ages})
    elif not ages:
        show_lines([f"no worker has run in {directory}"])
    else:
        show_lines(f"{context}: {_described(age, alive[context])}" for context, age in ages.items())
    return Exit.OK if ages and all(alive.values()) else Exit.NO


def _described(age: float | None, alive: bool) -> str:
    if age is None:
        return "not running"
    return "alive" if alive else f"silent for {age:.0f} s"
