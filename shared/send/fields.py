"""Lists the fields of a command as a client writes them: `items[0].name`, with type, bounds and default."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import NODEFAULT, Struct, inspect

LISTS = (inspect.ListType, inspect.VarTupleType)
END_OF_TEXT = r"\Z"
A_MOMENT = "2026-12-01T09:00:00Z"
EXAMPLES = ("someone@example.com", "ABC", "1")
"""Example values for fields whose pattern does not match the field's own name."""


class Field(NamedTuple):
    """One field that a client may give. `kind` describes type and bounds; `default` is empty when there is none."""

    path: str
    kind: str
    required: bool
    default: str
    example: str


def fields_of(command: type[Struct]) -> tuple[Field, ...]:
    """Every field of a command, including nested ones, in the order of their declaration."""
    return tuple(_fields(inspect.type_info(command), "", required=True))


def missing_from(command: type[Struct], body: Any) -> tuple[str, ...]:
    """The paths of all required fields that a body lacks. Finds no other mistakes."""
    return tuple(_missing(inspect.type_info(command), body, ""))


def _fields(struct: inspect.Type, prefix: str, *, required: bool) -> Iterator[Field]:
    assert isinstance(struct, inspect.StructType)
    for field in struct.fields:
        if _is_stamped(field):
            continue
        path = f"{prefix}{field.encode_name}"
        kind = _bare(field.type)
        inner = _bare(kind.item_type) if isinstance(kind, LISTS) else kind
        if isinstance(inner, inspect.StructType):
            index = "[0]" if inner is not kind else ""
            yield from _fields(inner, f"{path}{index}.", required=required and field.required)
        else:
            default = "" if field.default is NODEFAULT else msgspec.json.encode(field.default).decode()
            yield Field(path, _describe(kind), required and field.required, default, _example(field.encode_name, kind))


def _missing(struct: inspect.Type, given: Any, prefix: str) -> Iterator[str]:
    assert isinstance(struct, inspect.StructType)
    if not isinstance(given, Mapping):
        return
    for field in struct.fields:
        path = f"{prefix}{field.encode_name}"
        kind = _bare(field.type)
        if field.encode_name not in given:
            if field.required:
                yield from _required(kind, path)
            continue
        value = given[field.encode_name]
        if isinstance(kind, inspect.StructType):
            yield from _missing(kind, value, f"{path}.")
        elif isinstance(kind, LISTS) and isinstance(value, list):
            item = _bare(kind.item_type)
            if isinstance(item, inspect.StructType):
                for number, one in enumerate(value):
                    yield from _missing(item, one, f"{path}[{number}].")


def _required(kind: inspect.Type, path: str) -> Iterator[str]:
    """The required fields inside a missing field, or the missing field itself."""
    inner = _bare(kind.item_type) if isinstance(kind, LISTS) else kind
    if isinstance(inner, inspect.StructType):
        index = "[0]" if inner is not kind else ""
        yield from (field.path for field in _fields(inner, f"{path}{index}.", required=True) if field.required)
    else:
        yield path


def _is_stamped(field: inspect.Field) -> bool:
    """Whether the field takes its value from the subject or the stream."""
    return isinstance(field.type, inspect.Metadata) and bool(field.type.extra) and "stamped" in (field.type.extra or {})


def _bare(kind: inspect.Type) -> inspect.Type:
    """The type without metadata, and without None when the field is optional."""
    if isinstance(kind, inspect.Metadata):
        return _bare(kind.type)
    if isinstance(kind, inspect.UnionType):
        given = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
        return _bare(given[0]) if len(given) == 1 else kind
    return kind


def _describe(kind: inspect.Type) -> str:
    match kind:
        case inspect.BoolType():
            return "true or false"
        case inspect.IntType():
            least = kind.ge if kind.ge is not None else None if kind.gt is None else kind.gt + 1
            most = kind.le if kind.le is not None else None if kind.lt is None else kind.lt - 1
            bounds = [f"from {least}"] * (least is not None) + [f"to {most}"] * (most is not None)
            return " ".join(["number", *bounds])
        case inspect.StrType():
            like = "" if kind.pattern is None else f" like {kind.pattern.removesuffix(END_OF_TEXT)}"
            from_ = f"{kind.min_length} to " if kind.min_length else "at most "
            return f"text{like}" + ("" if kind.max_length is None else f" of {from_}{kind.max_length} characters")
        case inspect.LiteralType():
            return " or ".join(map(str, kind.values))
        case _:
            return "JSON" if isinstance(kind, LISTS) else type(kind).__name__.removesuffix("Type").lower()


def _example(name: str, kind: inspect.Type) -> str:
    """An example value that fits the type."""
    match kind:
        case inspect.BoolType():
            return "true"
        case inspect.IntType():
            return str(max(1, kind.ge or 0, (kind.gt or 0) + 1))
        case inspect.LiteralType():
            return str(kind.values[0])
        case inspect.StrType(pattern=str() as pattern):
            return next((text for text in (name, *EXAMPLES) if re.search(pattern, text)), name)
        case inspect.DateTimeType():
            return A_MOMENT
        case _:
            return "[]" if isinstance(kind, LISTS) else name
