"""Makes JSON Schemas of message types, draft 2020-12, as a client in any language can use them.

msgspec makes them. This module adds the format of times, which msgspec leaves out for aware and naive alike, spells
patterns as ECMA 262 does, and leaves out the fields that only the stream may set.
"""

import inspect as python
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
from msgspec import Struct, inspect

from shared.wire.bodies import stamped_fields

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
KEY_PATTERN: Final = "^[A-Za-z0-9_-]{1,64}$"

OMITS_DEFAULTS: Final = "x-omits-defaults"
"""Marks a Struct that is written without the fields that have their default."""

Schema: TypeAlias = dict[str, Any]

_REF: Final = "#/$defs/{name}"


def schema_of(message: type[Struct]) -> Schema:
    """The schema of one message type, complete in itself."""
    (name,), components = components_of([message], _REF)
    if f'"{_REF.format(name=name)}"' in msgspec.json.encode(components).decode():  # A message that holds itself.
        return {"$schema": DRAFT, "$ref": _REF.format(name=name), "$defs": components}
    root = components.pop(name)
    return {"$schema": DRAFT, **root, **({"$defs": components} if components else {})}


def components_of(messages: Sequence[type[Struct]], ref_template: str) -> tuple[tuple[str, ...], dict[str, Schema]]:
    """(the names of these message types, the schema of each Struct by name); `ref_template` spells references."""
    schemas, components = msgspec.json.schema_components(messages, ref_template=ref_template)
    prefix = ref_template.partition("{name}")[0]
    names = tuple(schema["$ref"].removeprefix(prefix) for schema in schemas)
    walk = _Walk(components, prefix)
    for message, schema, name in zip(messages, schemas, names, strict=True):
        walk.add(inspect.type_info(message), schema)
        _stamped(message, components[name])
    return names, {name: _spelled(schema) for name, schema in sorted(components.items())}


class _Walk:
    """Walks types and their schemas side by side."""

    def __init__(self, components: Mapping[str, Schema], prefix: str) -> None:
        self._components = components
        self._prefix = prefix
        self._seen: set[str] = set()

    def add(self, kind: inspect.Type, schema: Schema) -> None:
        """Add the formats of a type to its schema."""
        match kind:
            case inspect.Metadata():
                self.add(kind.type, schema)
            case inspect.DateTimeType():
                schema["format"] = "date-time"
            case inspect.StructType():
                self._add_fields(kind, schema)
            case inspect.ListType() | inspect.VarTupleType() | inspect.SetType() | inspect.FrozenSetType():
                self.add(kind.item_type, schema.get("items", {}))
            case inspect.DictType():
                self.add(kind.value_type, schema.get("additionalProperties", {}))
            case inspect.UnionType():
                self._add_arms(kind, schema)

    def _add_fields(self, kind: inspect.StructType, schema: Schema) -> None:
        name = schema.get("$ref", "").removeprefix(self._prefix)
        if name and name not in self._seen:
            self._seen.add(name)
            if kind.cls.__struct_config__.omit_defaults:
                self._components[name][OMITS_DEFAULTS] = True
            properties = self._components[name]["properties"]
            for field in kind.fields:
                self.add(field.type, properties[field.encode_name])

    def _add_arms(self, kind: inspect.UnionType, schema: Schema) -> None:
        """Find the arms in msgspec's `anyOf`: Structs by their titles, the others in the order of the union."""
        options = [one for option in schema.get("anyOf", ()) for one in option.get("anyOf", (option,))]
        arms = [*map(_bare, kind.types)]
        structs = {arm.cls.__name__: arm for arm in arms if isinstance(arm, inspect.StructType)}
        others = [arm for arm in arms if not isinstance(arm, inspect.StructType)]
        for arm, option in zip(others, (one for one in options if "$ref" not in one), strict=False):
            self.add(arm, option)
        for option in (one for one in options if "$ref" in one):
            title = self._components[option["$ref"].removeprefix(self._prefix)]["title"]
            self.add(structs[title], option)


def _bare(kind: inspect.Type) -> inspect.Type:
    return _bare(kind.type) if isinstance(kind, inspect.Metadata) else kind


def _stamped(message: type[Struct], schema: Schema) -> None:
    """Describe the field that comes from the subject, and remove those that the stream and a header set."""
    fields = {field.name: field.encode_name for field in msgspec.structs.fields(message)}
    for source, name in stamped_fields(message).items():
        properties = schema["properties"]
        if source in ("at", "actor"):
            del properties[fields[name]]
        else:
            properties[fields[name]] = {
                "type": "string",
                "pattern": KEY_PATTERN,
                "description": "The key of the subject; it may be left out.",
            }


def _spelled(schema: Any) -> Any:
    """The schema with descriptions without indentation, and with patterns that end as in ECMA 262."""
    if isinstance(schema, list | tuple):
        return [_spelled(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    spelled = {name: _spelled(value) for name, value in schema.items()}
    if isinstance(description := spelled.get("description"), str):
        spelled["description"] = python.cleandoc(description)
    if isinstance(pattern := spelled.get("pattern"), str):
        spelled["pattern"] = pattern.removesuffix(r"\Z") + "$" if pattern.endswith(r"\Z") else pattern
    return spelled
