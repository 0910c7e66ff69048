"""`chorus schema check` names each kind of change that breaks readers or writers, and no change that breaks nobody."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, defstruct

from shared.cli import run
from shared.config.exit_codes import Exit
from shared.schemas.check import Mode, check
from shared.schemas.files import write
from shared.schemas.json_schema import schema_of


class Inner(Struct):
    size: int


class Grown(Struct):
    size: int
    colour: str = "red"


class Shrunk(Struct):
    colour: str = "red"


class One(Struct, tag=True):
    size: int


class Two(Struct, tag=True):
    size: int


class Whole(Struct):
    kind: str
    size: int = 1


class Half(Struct, omit_defaults=True):
    kind: str = "a"
    size: int = 1


class Tree(Struct):
    branches: tuple["Tree", ...] = ()


EVENT, COMMAND = "here/events/ThingDone.json", "here/commands/DoThing.json"


def schema(*fields: Any, **options: Any) -> dict[str, Any]:
    """The schema of a message with these fields, and a key."""
    return schema_of(defstruct("ThingDone", [("thing_id", str), *fields], kw_only=True, **options))


def found(path: str, before: Any, now: Any, mode: Mode | None = None) -> list[str]:
    return [f"{one.direction} {one.path}: {one.text}" for one in check({path: before}, {path: now}, mode)]


@pytest.mark.parametrize(
    ("before", "now", "breaks"),
    [
        ([], [("size", int, 0)], []),
        ([], [("size", int)], ["backward $.size: is new and required, and nothing that was written before has it"]),
        ([("size", int)], [], ["forward $.size: is gone, and readers need it"]),
        ([("size", int, 0)], [], []),
        ([("size", int, 0)], [("size", int)], ["backward $.size: is required now, and was optional"]),
        ([("size", int)], [("size", int, 0)], []),
        (
            [("size", int)],
            [("size", str)],
            ["backward $.size: it was integer, is string", "forward $.size: it was integer, is string"],
        ),
        ([("size", int)], [("size", int | None)], ["forward $.size: it was integer, is null"]),
        ([("size", int | None)], [("size", int)], ["backward $.size: it was null, is integer"]),
        ([("size", int)], [("size", float)], ["forward $.size: it was integer, is number"]),
        ([("size", float)], [("size", int)], ["backward $.size: it was number, is integer"]),
        (
            [("size", Annotated[int, Meta(le=9)])],
            [("size", Annotated[int, Meta(le=5)])],
            ["backward $.size: maximum was 9, is 5"],
        ),
        (
            [("size", Annotated[int, Meta(le=5)])],
            [("size", Annotated[int, Meta(le=9)])],
            ["forward $.size: maximum was 5, is 9"],
        ),
        ([("size", int)], [("size", Annotated[int, Meta(ge=1)])], ["backward $.size: minimum was unbounded, is 1"]),
        ([("size", Annotated[int, Meta(gt=0)])], [("size", Annotated[int, Meta(ge=1)])], []),
        (
            [("name", str)],
            [("name", Annotated[str, Meta(pattern="^a")])],
            ["backward $.name: pattern was unbounded, is ^a"],
        ),
        (
            [("why", Literal["lost", "late"])],
            [("why", Literal["late"])],
            ["backward $.why: 'lost' was possible, and is not read any more"],
        ),
        (
            [("why", Literal["late"])],
            [("why", Literal["late", "lost"])],
            ["forward $.why: 'lost' is new, and readers take only one of late"],
        ),
        ([("why", Literal["late"])], [("why", str)], ["forward $.why: it was one of late, is string"]),
        ([("things", tuple[Inner, ...])], [("things", tuple[Grown, ...])], []),
        (
            [("things", tuple[Inner, ...])],
            [("things", tuple[Shrunk, ...])],
            ["forward $.things[].size: is gone, and readers need it"],
        ),
        ([("things", dict[str, Inner])], [("things", dict[str, Shrunk])], [
            "forward $.things.*.size: is gone, and readers need it"
        ]),
        (
            [("things", Annotated[tuple[int, ...], Meta(max_length=3)])],
            [("things", Annotated[tuple[int, ...], Meta(max_length=2)])],
            ["backward $.things: maxItems was 3, is 2"],
        ),
        ([("either", One)], [("either", One | Two)], ["forward $.either: it was One, is Two"]),
        ([("half", Whole)], [("half", Half)], [
            "forward $.half.kind: is optional now, and readers need it"
        ]),
    ],
)  # fmt: skip
def test_each_change_of_an_event_is_named_with_its_field(before: list[Any], now: list[Any], breaks: list[str]) -> None:
    assert found(EVENT, schema(*before), schema(*now)) == breaks


def test_a_command_that_refuses_unknown_fields_may_grow_and_may_not_shrink() -> None:
    small = schema(forbid_unknown_fields=True)
    grown = schema(("size", int, 0), forbid_unknown_fields=True)
    assert found(COMMAND, small, grown) == []
    assert found(COMMAND, grown, small) == ["backward $.size: is gone, and is refused where it was written"]


@pytest.mark.parametrize(
    ("mode", "breaks"),
    [
        ("backward", []),
        ("forward", ["forward $.size: is new, and readers refuse unknown fields"]),
        ("full", ["forward $.size: is new, and readers refuse unknown fields"]),
    ],
)
def test_the_mode_says_which_direction_counts(mode: Mode, breaks: list[str]) -> None:
    small = schema(forbid_unknown_fields=True)
    assert found(COMMAND, small, schema(("size", int, 0), forbid_unknown_fields=True), mode) == breaks


def test_a_message_that_is_gone_is_named_and_a_new_one_breaks_nobody() -> None:
    gone = check({EVENT: schema(), COMMAND: schema()}, {"here/events/ThingUndone.json": schema()})
    assert [(one.message, one.text) for one in gone] == [
        ("here.DoThing", "is gone, and clients send it"),
        ("here.ThingDone", "is gone, and journals and streams have such events"),
    ]


def test_a_type_that_holds_itself_can_be_compared() -> None:
    assert found(EVENT, schema_of(Tree), schema_of(Tree)) == []


@pytest.fixture
def committed(tmp_path: Path) -> Path:
    assert run(["schema", "export", "--dir", str(tmp_path)]) == Exit.OK
    return tmp_path


def test_the_command_exits_1_and_names_the_message_the_field_and_the_remedy(
    committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = committed / "every-context/events/MessageUnparked.json"
    before = json.loads(path.read_bytes())
    before["properties"]["since"] = {"type": "string"}
    before["required"].append("since")
    path.write_text(json.dumps(before))
    capsys.readouterr()
    assert run(["schema", "check", "--dir", str(committed)]) == Exit.NO
    said = capsys.readouterr().out
    assert said.startswith("every-context.MessageUnparked $.since: forward: is gone, and readers need it\n    keep")
    assert run(["schema", "check", "--dir", str(committed), "--json"]) == Exit.NO
    (finding,) = json.loads(capsys.readouterr().out)
    assert finding["path"] == "$.since"


def test_nothing_breaks_while_the_code_is_as_committed_or_has_grown(
    committed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["schema", "check", "--dir", str(committed)]) == Exit.OK
    assert "differ" not in capsys.readouterr().out
    (committed / "every-context/events/MessageUnparked.json").unlink()
    assert run(["schema", "check", "--dir", str(committed)]) == Exit.OK
    assert "1 differ, so run chorus schema export" in capsys.readouterr().out


@pytest.mark.parametrize("content", [None, b"{"], ids=["nothing", "no JSON"])
def test_schemas_that_cannot_be_read_exit_78(
    tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        write(tmp_path, {EVENT: content})
    assert run(["schema", "check", "--dir", str(tmp_path)]) == Exit.MISCONFIGURED
    assert "run chorus schema export" in capsys.readouterr().err


def test_the_whole_is_compared_by_what_the_schemas_say_and_not_by_their_text() -> None:
    described = {**schema(("size", int)), "description": "another"}
    assert found(EVENT, schema(("size", int)), msgspec.json.decode(msgspec.json.encode(described))) == []
