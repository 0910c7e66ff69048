"""Finds the fields in which a reader's type cannot read every value that a writer's type can write.

It compares kinds of types, not bounds such as the length of a text. A kind that it does not know counts as compatible.
"""

from collections.abc import Iterator
from functools import cache

from msgspec import Struct, inspect

from shared.config.spelling import did_you_mean
from shared.wire.bodies import stamped_fields

_LISTS = (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)
_TEXTS = (
    inspect.StrType, inspect.DateTimeType, inspect.DateType, inspect.TimeType, inspect.TimeDeltaType, inspect.UUIDType,
    inspect.DecimalType, inspect.BytesType, inspect.ByteArrayType,
)  # fmt: skip
"""The types that are texts in JSON. A text may be meant for any of them."""

_JUDGED = (
    *_TEXTS, *_LISTS, inspect.IntType, inspect.FloatType, inspect.BoolType, inspect.NoneType, inspect.LiteralType,
    inspect.StructType,
)  # fmt: skip


PATH_LENGTH_AT_MOST = 300
"""Types may hold themselves; no deeper field is compared."""


@cache
def incompatible_fields(reader: type[Struct], writer: type[Struct]) -> tuple[str, ...]:
    """Every field, by its JSON path, in which the reader cannot read what the writer may write."""
    return tuple(_fields(_struct(reader), _struct(writer), "$", {*stamped_fields(reader).values()}))


def _struct(message: type[Struct]) -> inspect.StructType:
    described = inspect.type_info(message)
    assert isinstance(described, inspect.StructType)
    return described


def _fields(
    reader: inspect.StructType, writer: inspect.StructType, path: str, stamped: set[str] | frozenset[str] = frozenset()
) -> Iterator[str]:
    written = {field.encode_name: field for field in writer.fields}
    omits = writer.cls.__struct_config__.omit_defaults
    for field in reader.fields:
        name = field.encode_name
        if field.name in stamped:
            continue
        if name not in written:
            if field.required:
                meant = did_you_mean(name, written)
                yield f"{path}.{name} is not written{meant}: read another field, or give it a default"
            continue
        if field.required and omits and not written[name].required:
            yield f"{path}.{name} is left out where it is the writer's default: give it the same default"
        yield from _problems(field.type, written[name].type, f"{path}.{name}")
    if reader.forbid_unknown_fields and (
        more := sorted(written.keys() - {field.encode_name for field in reader.fields})
    ):
        yield f"{path}.{more[0]} is refused as an unknown field: take forbid_unknown_fields away"


def _problems(reader: inspect.Type, writer: inspect.Type, path: str) -> Iterator[str]:
    if len(path) > PATH_LENGTH_AT_MOST:
        return
    read, written = _arms(reader), _arms(writer)
    for arm in written:
        if any(_reads(one, arm, path) for one in read):
            continue
        structs = [one for one in read if isinstance(one, inspect.StructType)]
        lists = [one for one in read if isinstance(one, _LISTS)]
        if isinstance(arm, inspect.StructType) and len(structs) == 1:
            yield from _fields(structs[0], arm, path)
        elif isinstance(arm, _LISTS) and len(lists) == 1:
            yield from _problems(lists[0].item_type, arm.item_type, f"{path}[]")
        else:
            expected = " or ".join(_spelled(one) for one in read)
            yield f"{path} may be {_spelled(arm)} and is read as {expected}: widen its type"


def _reads(reader: inspect.Type, writer: inspect.Type, path: str) -> bool:
    """Whether every value of the writer's arm is read by this arm of the reader."""
    if not isinstance(reader, _JUDGED) or not isinstance(writer, _JUDGED):
        return True
    match reader, writer:
        case inspect.StructType(), inspect.StructType():
            return not [*_fields(reader, writer, path)]
        case inspect.LiteralType(), inspect.LiteralType():
            return {*writer.values} <= {*reader.values}
        case _, inspect.LiteralType():
            kinds = {type(value) for value in writer.values}
            return isinstance(reader, _TEXTS) if kinds == {str} else isinstance(reader, inspect.IntType)
        case inspect.FloatType(), inspect.IntType():
            return True
    if isinstance(reader, _LISTS) and isinstance(writer, _LISTS):
        return not [*_problems(reader.item_type, writer.item_type, f"{path}[]")]
    if isinstance(reader, _TEXTS) and isinstance(writer, _TEXTS):
        return (
            isinstance(reader, inspect.StrType) or isinstance(writer, inspect.StrType) or type(reader) is type(writer)
        )
    return type(reader) is type(writer)


def _arms(kind: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(kind, inspect.Metadata):
        return _arms(kind.type)
    if isinstance(kind, inspect.UnionType):
        return tuple(arm for one in kind.types for arm in _arms(one))
    return (kind,)


def _spelled(kind: inspect.Type) -> str:
    match kind:
        case inspect.LiteralType():
            return f"one of {', '.join(map(str, kind.values))}"
        case inspect.StructType():
            return kind.cls.__name__
        case _ if isinstance(kind, _LISTS):
            return f"a list of {' or '.join(_spelled(one) for one in _arms(kind.item_type))}"
        case _:
            return type(kind).__name__.removesuffix("Type").lower()
