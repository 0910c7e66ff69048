"""Finds where something is declared, as `file:line` from the working directory."""

import ast
import inspect
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from shared.saga import Saga
from shared.streams.choreography import function_of


def place_of(declared: Callable[..., Any]) -> str:
    """The place of a function or a class."""
    code = getattr(inspect.unwrap(function_of(declared)), "__code__", None)
    if code is not None:
        return _place(code.co_filename, code.co_firstlineno)
    kind = declared if isinstance(declared, type) else type(declared)
    try:
        file = inspect.getfile(kind)
    except (OSError, TypeError):  # A class that was made without a file.
        return kind.__module__
    return _place(file, _classes(file).get(kind.__name__, 1))


def place_in(file: Path | None, saga: Saga, text: str) -> str:
    """The place of a text, such as the name of an event, in the declaration of a saga."""
    if file is None:
        return "sagas.py"
    lines = file.read_text().splitlines()
    quoted = [f"{quote}{{}}{quote}" for quote in "\"'"]

    def first_line(wanted: str, start: int) -> int | None:
        texts = [one.format(wanted) for one in quoted]
        found = (number for number, line in enumerate(lines[start:], start) if any(one in line for one in texts))
        return next(found, None)

    begins = first_line(saga.name, 0) or 0
    found = first_line(text, begins) if text else begins
    return _place(str(file), (begins if found is None else found) + 1)


def _place(file: str, line: int) -> str:
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}:{line}"


@cache
def _classes(file: str) -> dict[str, int]:
    """The line of each class of a file."""
    tree = ast.parse(Path(file).read_text())
    return {node.name: node.lineno for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
