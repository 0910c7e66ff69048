"""Composes the body of a command from words such as `items[0].name=blue`, and checks it as its context will."""

import contextlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from msgspec import Struct

from shared.config.spelling import did_you_mean
from shared.context import Context
from shared.send.fields import missing_from
from shared.wire.bodies import BodyDecoder, MalformedBodyError
from shared.wire.messages import NEVER

ITEMS_AT_MOST: Final = 1000

_STEP = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)|\[([0-9]{1,4})\]")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*|\[[0-9]{1,4}\])*")


class ComposeError(ValueError):
    """The command is not valid; the text says what to correct."""


def find_command(name: str, contexts: Mapping[str, Context]) -> tuple[str, type[Struct]]:
    """The context and type of a command such as `CONTEXT.COMMAND`.

    Raises:
        ComposeError: there is no such command; the text suggests a near one or lists all.
    """
    known = {
        f"{context.name}.{command.__name__}": (context.name, command)
        for context in contexts.values()
        for command in context.accepts
    }
    if name not in known:
        fuller = next((full for full in known if full.endswith(f".{name}")), name)
        meant = did_you_mean(fuller, known) or f"; there are {', '.join(known)}"
        raise ComposeError(f"there is no command {name!r}{meant}")
    return known[name]


def compose(command: type[Struct], words: Iterable[str]) -> bytes:
    """The JSON body that the words spell. Values take the types that the command declares.

    Raises:
        ComposeError: a word is not `path=value`, names no field, or does not fit its type.
    """
    given: dict[str, Any] = {}
    for word in words:
        path, equals, value = word.partition("=")
        if not equals or _PATH.fullmatch(path) is None:
            raise ComposeError(f"{word!r} is not field=value; write it like size=3 or items[0].name=blue")
        _put(given, path, value)
    try:
        message = msgspec.convert(given, command, strict=False)
    except msgspec.ValidationError as error:
        raise _explained(command, given, str(error)) from error
    return json.dumps(_given_fields(given, msgspec.to_builtins(message), ""), separators=(",", ":")).encode()


def check_body(command: type[Struct], body: bytes, key: str) -> None:
    """Raise ComposeError, with the path of the mistake, when the context would refuse this body as malformed."""
    try:
        BodyDecoder(command, strict=True).decode(body, key=key, at=NEVER)
    except MalformedBodyError as error:
        given: Any = None
        with contextlib.suppress(ValueError, RecursionError):
            given = json.loads(body)
        raise _explained(command, given, str(error)) from error


def _explained(command: type[Struct], body: Any, problem: str) -> ComposeError:
    """An error with msgspec's first problem and with every missing field."""
    missing = missing_from(command, body)
    problems = [f"lacks {', '.join(missing)} (--help lists all fields)"] if missing else []
    if not missing or "missing required field" not in problem:
        problems.append(f"{problem}{_suggestion(command, problem)}")
    return ComposeError(f"{command.__name__}: {'; '.join(problems)}")


def _suggestion(command: type[Struct], problem: str) -> str:
    unknown = _UNKNOWN.search(problem)
    if unknown is None:
        return ""
    _, parts = msgspec.json.schema_components((command,))
    return did_you_mean(unknown[1], {name for part in parts.values() for name in part.get("properties", {})})


def _put(given: dict[str, Any], path: str, value: str) -> None:
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    container: Any = given
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        if isinstance(step, int):
            if not isinstance(container, list) or step > len(container) or step >= ITEMS_AT_MOST:
                raise ComposeError(f"{path}: number list items from [0], in order and without a gap")
            if step == len(container):
                container.append(None)
        elif not isinstance(container, dict):
            raise ComposeError(f"{path} has both a value and fields; give one of them")
        there = container[step] if isinstance(step, int) else container.get(step)
        if following is None:
            if there is not None:
                raise ComposeError(f"{path} is given twice; give it once")
            container[step] = _value(value)
        elif there is None:
            container[step] = [] if isinstance(following, int) else {}
        container = container[step]


def _value(text: str) -> Any:
    """The text itself, or the JSON object or list that it is. The command's type converts numbers later."""
    if not text.startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ComposeError(f"{text[:80]!r} is not JSON: {error}") from error


def _given_fields(given: Any, converted: Any, path: str) -> Any:
    """The converted values of the given fields only; fields that have just their default are left out."""
    if isinstance(given, dict):
        for name in given:
            if name not in converted:
                raise ComposeError(f"there is no field {path}{name}{did_you_mean(name, converted)}")
        return {name: _given_fields(value, converted[name], f"{path}{name}.") for name, value in given.items()}
    if isinstance(given, list):
        return [_given_fields(value, one, path) for value, one in zip(given, converted, strict=True)]
    return converted
