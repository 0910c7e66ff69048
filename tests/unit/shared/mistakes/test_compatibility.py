from datetime import datetime
from typing import Annotated, Any, Literal

import pytest
from msgspec import Meta, Struct, defstruct

from shared.mistakes.compatibility import incompatible_fields
from shared.wire.messages import FROM_STREAM, NEVER
from tests.contract.declared import contexts


class Inner(Struct, frozen=True, kw_only=True):
    a: int
    b: str = ""


class Part(Struct, frozen=True, kw_only=True):
    a: int


class Odd(Struct, frozen=True, kw_only=True):
    a: str


class Strict(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    a: int


class Endless(Struct, frozen=True, kw_only=True):
    next: "Endless | None" = None


def problems(reader: Any, writer: Any) -> tuple[str, ...]:
    return incompatible_fields(defstruct("Read", [("x", reader)]), defstruct("Written", [("x", writer)]))


@pytest.mark.parametrize(
    ("reader", "writer"),
    [
        (str, Annotated[str, Meta(max_length=3)]),
        (str, Literal["a", "b"]),
        (Literal["a", "b", "c"], Literal["a", "b"]),
        (int | None, int),
        (float, int),
        (str, datetime),
        (datetime, str),
        (Any, int),
        (tuple[Part, ...], list[Inner]),
        (Part | None, Inner | None),
        (Endless, Endless),
        (dict[str, int], Inner),
    ],
)
def test_a_type_that_reads_every_value_is_no_problem(reader: Any, writer: Any) -> None:
    assert problems(reader, writer) == ()


@pytest.mark.parametrize(
    ("reader", "writer", "problem"),
    [
        (int, str, "$.x may be str and is read as int: widen its type"),
        (str, str | None, "$.x may be none and is read as str: widen its type"),
        (Literal["a"], Literal["a", "b"], "$.x may be one of a, b and is read as one of a: widen its type"),
        (Literal["a"], str, "$.x may be str and is read as one of a: widen its type"),
        (int, Literal["a"], "$.x may be one of a and is read as int: widen its type"),
        (bool, int, "$.x may be int and is read as bool: widen its type"),
        (int, float, "$.x may be float and is read as int: widen its type"),
        (Odd, Inner, "$.x.a may be int and is read as str: widen its type"),
        (tuple[Odd, ...], tuple[Inner, ...], "$.x[].a may be int and is read as str: widen its type"),
        (Inner, tuple[Inner, ...], "$.x may be a list of Inner and is read as Inner: widen its type"),
        (Strict, Inner, "$.x.b is refused as an unknown field: take forbid_unknown_fields away"),
    ],
)
def test_a_type_that_cannot_read_a_value_is_named_with_its_path(reader: Any, writer: Any, problem: str) -> None:
    assert problems(reader, writer) == (problem,)


def test_a_field_that_is_not_written_is_named_unless_it_has_a_default() -> None:
    written = defstruct("Written", [("order_id", str)])
    assert incompatible_fields(defstruct("Read", [("order_di", str)]), written) == (
        "$.order_di is not written (did you mean 'order_id'?): read another field, or give it a default",
    )
    assert incompatible_fields(defstruct("Read", [("note", str, "")]), written) == ()
    assert incompatible_fields(defstruct("Read", [("at", Annotated[datetime, FROM_STREAM], NEVER)]), written) == ()


def test_a_field_that_the_writer_may_leave_out_needs_a_default() -> None:
    written = defstruct("Written", [("x", int, 0)], omit_defaults=True)
    assert incompatible_fields(defstruct("Read", [("x", int)]), written) == (
        "$.x is left out where it is the writer's default: give it the same default",
    )
    assert incompatible_fields(defstruct("Read", [("x", int, 0)]), written) == ()


def test_every_event_of_the_shop_reads_itself() -> None:
    for context in contexts():
        for event in context.publishes:
            assert incompatible_fields(event, event) == ()
