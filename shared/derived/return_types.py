"""Reads from the return annotation of a function which commands it gives."""

from collections.abc import Callable
from types import NoneType
from typing import Any, get_args, get_type_hints

from msgspec import Struct

from shared.context import Command


def commands_of(whenever: Callable[..., Any]) -> tuple[type[Command], ...] | None:
    """The commands in `DoThing`, `list[DoThing]` or `list[DoThing | UndoThing]`; None where none is named."""
    returned = _returned(whenever)
    if isinstance(returned, type) and issubclass(returned, Struct):
        return (returned,)
    items = get_args(returned)
    if len(items) != 1 and not (len(items) == 2 and items[1] is ...):
        return None
    named = tuple(one for one in get_args(items[0]) or (items[0],) if one is not NoneType)
    return named if all(isinstance(one, type) and issubclass(one, Struct) for one in named) else None


def command_of(asks: Callable[..., Any]) -> type[Command] | None:
    """The one command that a function returns; None where its annotation names no class."""
    returned = _returned(asks)
    return returned if isinstance(returned, type) and issubclass(returned, Struct) else None


def _returned(function: Callable[..., Any]) -> Any:
    try:
        return get_type_hints(function).get("return")
    except (NameError, TypeError):  # A name that only a type checker sees, or no function.
        return None
