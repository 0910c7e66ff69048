"""JSON Schemas of message types: formats, patterns, the fields of subject and stream, types that hold themselves."""

from datetime import datetime
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct

from shared.schemas.json_schema import KEY_PATTERN, components_of, schema_of
from shared.wire.messages import FROM_STREAM, FROM_SUBJECT, NEVER


class Inner(Struct, frozen=True, kw_only=True):
    """An inner value.

    With more to say.
    """

    seen_at: datetime


class Other(Struct, frozen=True, kw_only=True, tag=True):
    when: datetime


class Another(Struct, frozen=True, kw_only=True, tag=True):
    text: str


class Asked(Struct, frozen=True, kw_only=True):
    thing_id: Annotated[str, FROM_SUBJECT] = ""
    asked_at: Annotated[datetime, FROM_STREAM] = NEVER
    until: Annotated[datetime, Meta(description="the end")]
    perhaps: datetime | None = None
    times: tuple[datetime, ...] = ()
    by_name: dict[str, datetime] = {}
    inner: tuple[Inner, ...] = ()
    either: Other | Another | None = None
    code: Annotated[str, Meta(pattern=r"^[a-z]\Z")] = "a"


class Tree(Struct, frozen=True, kw_only=True):
    branches: tuple["Tree", ...] = ()


TIME = {"type": "string", "format": "date-time"}


def property_of(field: str) -> Any:
    return schema_of(Asked)["properties"][field]


@pytest.mark.parametrize(
    ("field", "schema"),
    [
        ("until", {**TIME, "description": "the end"}),
        ("perhaps", {"anyOf": [TIME, {"type": "null"}], "default": None}),
        ("times", {"type": "array", "items": TIME, "default": []}),
        ("by_name", {"type": "object", "additionalProperties": TIME, "default": {}}),
        ("code", {"type": "string", "pattern": "^[a-z]$", "default": "a"}),
    ],
)
def test_a_time_has_its_format_and_a_pattern_ends_as_in_javascript(field: str, schema: dict[str, Any]) -> None:
    assert property_of(field) == schema


def test_times_within_structs_have_their_format_also_in_a_union() -> None:
    defined = schema_of(Asked)["$defs"]
    assert defined["Inner"]["properties"]["seen_at"] == TIME
    assert defined["Other"]["properties"]["when"] == TIME


def test_the_key_may_be_left_out_and_the_time_of_the_stream_cannot_be_given() -> None:
    schema = schema_of(Asked)
    assert schema["properties"]["thing_id"]["pattern"] == KEY_PATTERN
    assert "asked_at" not in schema["properties"]
    assert schema["required"] == ["until"]


def test_a_description_has_no_indentation_of_the_source() -> None:
    assert schema_of(Asked)["$defs"]["Inner"]["description"] == "An inner value.\n\nWith more to say."


def test_a_type_that_holds_itself_is_defined_once() -> None:
    schema = schema_of(Tree)
    assert schema["$ref"] == "#/$defs/Tree"
    assert schema["$defs"]["Tree"]["properties"]["branches"]["items"] == {"$ref": "#/$defs/Tree"}


def test_two_types_of_one_name_get_two_names() -> None:
    namesake = type("Inner", (Struct,), {"__annotations__": {"text": str}, "__module__": "elsewhere"})
    names, components = components_of([Inner, namesake], "#/x/{name}")
    assert len({*names}) == 2
    assert {*names} == {*components}
