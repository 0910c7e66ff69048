"""Compares two JSON Schemas of one message: every field in which a reader cannot read all that a writer may write.

It knows the keywords that msgspec writes. A pattern cannot be compared with another, so another pattern is a problem.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from shared.schemas.json_schema import OMITS_DEFAULTS, Schema

DEPTH_AT_MOST: Final = 24
"""Types may hold themselves; no deeper field is compared."""

_AT_LEAST: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_AT_MOST: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME: Final = ("pattern", "format", "contentEncoding", "multipleOf")
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None), "array": list,
    "object": dict,
}  # fmt: skip


class Problem(NamedTuple):
    """A field by its JSON path, and why the reader cannot read it: `written` as the writer has it, `read` as it has."""

    path: str
    reason: str
    written: str
    read: str


class Document:
    """A schema with its definitions."""

    def __init__(self, schema: Schema) -> None:
        self._definitions: Mapping[str, Schema] = schema.get("$defs", {})
        self.root = self.resolved(schema)

    def resolved(self, schema: Schema) -> Schema:
        """The schema itself, or the definition that it refers to."""
        reference = schema.get("$ref")
        return schema if reference is None else self._definitions[reference.removeprefix("#/$defs/")]

    def arms(self, schema: Schema) -> list[Schema]:
        """The alternatives of a schema, one for each kind of value."""
        schema = self.resolved(schema)
        if "anyOf" in schema:
            return [arm for one in schema["anyOf"] for arm in self.arms(one)]
        return [schema]


def problems(reader: Schema, writer: Schema, *, writes_all: bool) -> list[Problem]:
    """Each field in which the reader cannot read what the writer may write.

    `writes_all`: the writer writes also the fields that are not required, as every context does.
    """
    return [*_Comparison(Document(reader), Document(writer), writes_all).fields()]


class _Comparison:
    def __init__(self, reader: Document, writer: Document, writes_all: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._writes_all = writes_all

    def fields(self) -> Iterator[Problem]:
        yield from self._objects(self._reader.root, self._writer.root, "$")

    def _objects(self, reader: Schema, writer: Schema, path: str) -> Iterator[Problem]:
        read, written = reader.get("properties", {}), writer.get("properties", {})
        needed = {*reader.get("required", ())}
        always_all = self._writes_all and not writer.get(OMITS_DEFAULTS)
        certain = written.keys() if always_all else {*writer.get("required", ())}
        for name, schema in read.items():
            if name not in written:
                if name in needed:
                    yield Problem(f"{path}.{name}", "missing", "nothing", "required")
                continue
            if name in needed and name not in certain:
                yield Problem(f"{path}.{name}", "optional", "optional", "required")
            yield from self._values(schema, written[name], f"{path}.{name}")
        if reader.get("additionalProperties") is False:
            for name in written.keys() - read.keys():
                yield Problem(f"{path}.{name}", "unknown", "a field", "refused")
        if isinstance(more := reader.get("additionalProperties"), dict):
            yield from self._values(more, writer.get("additionalProperties") or {}, f"{path}.*")

    def _values(self, reader: Schema, writer: Schema, path: str) -> Iterator[Problem]:
        if path.count(".") > DEPTH_AT_MOST:
            return
        arms = self._reader.arms(reader)
        for arm in self._writer.arms(writer):
            if "enum" in arm:
                yield from self._choices(arms, arm["enum"], path)
                continue
            tries = [[*self._arm(one, arm, path)] for one in arms if _may_read(one, arm)]
            if not tries:
                yield Problem(path, "kind", _spelled(arm), " or ".join(map(_spelled, arms)))
            elif all(tries):
                yield from min(tries, key=len)

    def _choices(self, arms: Sequence[Schema], values: Sequence[Any], path: str) -> Iterator[Problem]:
        for value in values:
            if not any(_accepts(arm, value) for arm in arms):
                yield Problem(path, "value", repr(value), " or ".join(map(_spelled, arms)))

    def _arm(self, reader: Schema, writer: Schema, path: str) -> Iterator[Problem]:
        yield from _bounds(reader, writer, path)
        if reader.get("type") == "object":
            yield from self._objects(reader, writer, path)
        if reader.get("type") == "array":
            fixed = (reader.get("prefixItems", ()), writer.get("prefixItems", ()))
            for number, (one, other) in enumerate(zip(*fixed, strict=False)):
                yield from self._values(one, other, f"{path}[{number}]")
            if isinstance(items := reader.get("items"), dict):
                yield from self._values(items, writer.get("items") or {}, f"{path}[]")


def _bounds(reader: Schema, writer: Schema, path: str) -> Iterator[Problem]:
    narrower: list[tuple[Sequence[str], Callable[[Any, Any], bool]]] = [
        (_AT_LEAST, lambda read, written: written is None or written < read),
        (_AT_MOST, lambda read, written: written is None or written > read),
        (_SAME, lambda read, written: bool(written != read)),
    ]
    reading, writing = _inclusive(reader), _inclusive(writer)
    for keywords, is_narrower in narrower:
        for keyword in keywords:
            read, written = reading.get(keyword), writing.get(keyword)
            if read is not None and is_narrower(read, written):
                yield Problem(path, keyword, "unbounded" if written is None else str(written), str(read))


def _inclusive(schema: Schema) -> Schema:
    """The schema of an integer with inclusive bounds only."""
    if schema.get("type") != "integer":
        return schema
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds = {**({} if above is None else {"minimum": above + 1}), **({} if below is None else {"maximum": below - 1})}
    return {**{name: value for name, value in schema.items() if not name.startswith("exclusive")}, **bounds}


def _may_read(reader: Schema, writer: Schema) -> bool:
    """Whether the reader's arm is for the writer's kind of value. A schema without a type takes everything."""
    read, written = reader.get("type"), writer.get("type")
    if "enum" in reader:
        return False
    if read == written == "object" and (tag := _tag(writer)) is not None:
        return bool(_tag(reader) == tag)
    return read is None or read == written or (read == "number" and written == "integer")


def _tag(schema: Schema) -> Any:
    """The value by which the Struct is told from others of its union, if it has one."""
    properties = schema.get("properties", {})
    return next((one["enum"] for one in properties.values() if "enum" in one and len(one["enum"]) == 1), None)


def _accepts(arm: Schema, value: Any) -> bool:
    if "enum" in arm:
        return value in arm["enum"]
    kind = arm.get("type")
    return kind is None or (isinstance(value, _KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool)))


def _spelled(schema: Schema) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    return str(schema.get("format") or schema.get("title") or schema.get("type") or "anything")
