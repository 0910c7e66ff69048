"""Prints the output of commands: rich on a terminal, unfolded plain lines in a pipe, JSON on request."""

import json
import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

PIPE_WIDTH = 10_000
"""Wide enough that no line is folded for a program that reads it."""


def console() -> "Console":
    """A console on standard output that respects NO_COLOR and COLUMNS."""
    from rich.console import Console

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(width=width, highlight=False, soft_wrap=False)


def show(*renderables: "RenderableType") -> None:
    """Print; in a pipe, without trailing blanks."""
    out = console()
    if out.is_terminal:
        out.print(*renderables, sep="\n")
        return
    with out.capture() as captured:
        out.print(*renderables, sep="\n")
    show_lines(line.rstrip() for line in captured.get().splitlines())


def show_json(value: Any) -> None:
    """Print one JSON document."""
    show_lines([json.dumps(value, indent=2)])


def show_lines(lines: Iterable[str]) -> None:
    """Print lines as they are and flush, because a reader may wait for them."""
    for line in lines:
        print(line)
    sys.stdout.flush()
