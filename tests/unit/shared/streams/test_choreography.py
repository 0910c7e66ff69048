"""The choreography in streams.yaml: derived from contexts, and written without touching another line."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from shared.context import Aggregate, Call, Context, Decider, Effect, Endpoint, Event, Policy, Timer
from shared.streams.choreography import BEGIN, END, choreography, is_current, services_of, write
from shared.streams.file import StreamsFileError, read_topology
from shared.wire.engine_events import CommandRejected
from tests.idle import decide, evolve, whenever_do_nothing

FILE = Path(__file__).parents[4] / "streams.yaml"
LOOKUP = "svc.weather.lookup"
"""The subject of a service, in the module of the call as in a context."""


class OpenDoor(Struct, frozen=True, kw_only=True):
    door_id: str


class RecordKnock(Struct, frozen=True, kw_only=True):
    door_id: str


class DoorOpened(Struct, frozen=True, kw_only=True):
    door_id: str


class DoorClosed(Struct, frozen=True, kw_only=True):
    door_id: str


class Door(Struct, frozen=True, kw_only=True):
    is_open: bool = False


async def knock(_asked: DoorOpened, _call: Call, *, loudly: bool) -> RecordKnock:
    assert loudly
    return RecordKnock(door_id="d-1")


def context(name: str, *, events: tuple[type[Event], ...] = (), **declared: Any) -> Context:
    door = Aggregate(name="door", key="door_id", state=Door, events=events, evolve=evolve)
    return Context(name=name, deciders=(Decider(aggregate=door, commands=(), decide=decide),), **declared)


def effect(call: Callable[..., Any]) -> Effect:
    return Effect(asked_by=DoorOpened, call=call, outcomes=(RecordKnock,))


DOORS = context(
    "doors",
    events=(DoorOpened, DoorClosed),
    accepts=(OpenDoor,),
    timers=(Timer(name="CloseDue", armed_by=DoorOpened, at=lambda _: None, whenever_due=whenever_do_nothing),),
    effects=(effect(partial(knock, loudly=True)),),
)
BELLS = context(
    "bells",
    policies=(
        Policy("doors", DoorOpened, whenever_do_nothing),
        Policy("doors", CommandRejected, whenever_do_nothing),
        Policy("doors", DoorOpened, whenever_do_nothing),
    ),
)
MEMBERS = {member.name: member for member in (DOORS, BELLS)}


def test_each_context_lists_what_it_accepts_hears_says_and_asks_and_its_deadlines() -> None:
    assert choreography(MEMBERS)[2:] == [
        "#",
        "# bells",
        "#   hears      doors: DoorOpened, CommandRejected",
        "#",
        "# doors",
        "#   accepts    OpenDoor",
        "#   says       DoorOpened -> bells",
        "#              CommandRejected -> bells",
        "#              heard by no context: DoorClosed",
        "#   asks       weather through knock, on DoorOpened: RecordKnock",
        "#   deadlines  CloseDue, armed by DoorOpened",
    ]


def test_a_context_that_answers_requests_lists_them_with_those_who_ask() -> None:
    endpoint = Endpoint(subject="svc.weather.forecast", request=OpenDoor, asks=len, answer=len)  # type: ignore[arg-type]
    members = {"weather": context("weather", endpoints=(endpoint,)), "doors": DOORS}
    assert choreography(members)[-4:] == [
        "#",
        "# weather",
        "#   answers    forecast",
        "#   asked by   doors",
    ]


def test_a_call_that_names_no_service_asks_none() -> None:
    assert services_of(effect(write)) == []
    assert services_of(effect(len)) == []


def test_writing_adds_the_section_once_and_keeps_every_other_line(tmp_path: Path) -> None:
    file = tmp_path / "streams.yaml"
    head = FILE.read_text().split("# --- begin")[0]
    file.write_text(head)
    file.chmod(0o640)
    assert not is_current(file, MEMBERS)
    assert write(file, MEMBERS)
    assert is_current(file, MEMBERS)
    assert file.read_text().startswith(f"{head}\n{BEGIN}\n")
    assert file.read_text().endswith(f"\n{END}\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert not write(file, MEMBERS)
    assert read_topology(file) == read_topology(FILE)
    assert list(tmp_path.iterdir()) == [file]


def test_the_section_is_replaced_where_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "streams.yaml"
    before, after = "# Ours.\n", FILE.read_text().split("# --- begin")[0]
    file.write_text(f"{before}# --- begin: choreography, of an older release ---\n# doors\n{END}\n{after}")
    assert write(file, MEMBERS)
    assert file.read_text() == "\n".join([f"{before}{BEGIN}", *choreography(MEMBERS), END, after])


def test_a_file_with_line_ends_of_windows_keeps_them(tmp_path: Path) -> None:
    file = tmp_path / "streams.yaml"
    file.write_bytes(FILE.read_bytes().replace(b"\n", b"\r\n"))
    assert write(file, MEMBERS)
    written = file.read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n")
    assert is_current(file, MEMBERS)


@pytest.mark.parametrize("markers", [[BEGIN], [END], [END, BEGIN], [BEGIN, BEGIN, END]])
def test_markers_that_make_no_section_are_reported_with_their_line(markers: list[str], tmp_path: Path) -> None:
    file = tmp_path / "streams.yaml"
    text = "\n".join([*markers, FILE.read_text().split("# --- begin")[0]])
    file.write_text(text)
    with pytest.raises(StreamsFileError, match=r"streams\.yaml:1: .* run chorus streams write"):
        write(file, MEMBERS)
    assert file.read_text() == text


def test_a_file_that_is_no_streams_file_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text("a: b\n")
    with pytest.raises(StreamsFileError, match="a is not known here"):
        write(file, MEMBERS)
    assert file.read_text() == "a: b\n"
