"""Another package of contexts runs on the same machinery, and no command then mentions the shop."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio
import pytest

from shared import catalog
from tests.forking import run_chorus
from tests.other_system import write_system
from tests.waiting import WITHIN_S

SCRIPT = str(Path(sys.executable).with_name("chorus"))


@pytest.fixture
def system(tmp_path: Path) -> Path:
    write_system(tmp_path)
    return tmp_path


def chorus(cwd: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What `chorus` says in a directory; it has the shop installed beside it."""
    ran = anyio.run(partial(run_chorus, *words, environ=environment(environ), cwd=cwd))
    return subprocess.CompletedProcess(words, *ran)


def started(cwd: Path, *command: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What a real command says there."""
    return subprocess.run(
        command, env=environment(environ), capture_output=True, text=True, cwd=cwd, timeout=WITHIN_S, check=False
    )


def environment(more: Mapping[str, str]) -> dict[str, str]:
    unwanted = ("CHORUS_", "NATS_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "COLUMNS": "200", "XDG_CONFIG_HOME": "nowhere", **more}


def test_the_directory_one_stands_in_says_which_contexts_run(system: Path) -> None:
    said = started(system, SCRIPT, "config", "--json")
    settings = {setting["name"]: setting for setting in json.loads(said.stdout)}
    assert settings["contexts"]["value"] == "travel.contexts"
    assert settings["check_in"]["default"] == "2h"
    assert "order_deadline" not in settings
    assert "there are flights, hotels" in chorus(system, "worker", "ordering").stderr
    assert "did you mean 'CHORUS_CHECK_IN'" in chorus(system, "config", CHORUS_CHECKIN="1h").stderr


def test_the_variable_says_which_contexts_run(system: Path) -> None:
    (system / "pyproject.toml").write_text("")
    assert "there are bank, inventory" in chorus(system, "worker", "nobody").stderr
    there = chorus(system, "worker", "nobody", CHORUS_CONTEXTS="travel.contexts")
    assert "there are flights, hotels" in there.stderr


def test_a_package_named_contexts_here_comes_before_the_installed_one(system: Path) -> None:
    (system / "pyproject.toml").unlink()
    (system / "travel/contexts").rename(system / "contexts")
    assert "there are flights, hotels" in started(system, SCRIPT, "worker", "nobody").stderr


def test_the_streams_file_beside_the_package_is_taken(system: Path) -> None:
    (system / "travel/streams.yaml").write_text("")
    said = chorus(system, "config", "--json")
    settings = {setting["name"]: setting["value"] for setting in json.loads(said.stdout)}
    assert settings["streams_file"] == str(system / "travel/streams.yaml")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("send", "--help"),
        ("send", "flights.BookFlight", "--help"),
        ("send", "flights.BookFligth", "t-1"),
        ("send", "flights.BookFlight", "t-1", "to=Bern", "--show-nats"),
        ("streams", "plan", "--show-nats"),
        ("up", "--help"),
        ("demo", "--help"),
        ("demo",),
        ("timeline", "--help"),
        ("parked", "ls"),
        ("parked", "void", "--help"),
        ("health",),
        ("reconcile", "nobody"),
    ],
    ids=" ".join,
)
def test_no_command_mentions_the_shop(system: Path, words: tuple[str, ...]) -> None:
    said = chorus(system, *words)
    assert "Traceback" not in said.stderr
    assert said.returncode in (0, 1, 64), said.stderr
    known = {*catalog.names(), "order_id", "OrderPlaced", "apple", "sku", "shop"}
    assert known & set(re.findall(r"\w+", said.stdout + said.stderr)) == set()


def test_a_system_without_a_demo_is_told_what_is_missing(system: Path) -> None:
    said = chorus(system, "demo")
    assert said.returncode == 1
    assert said.stderr.startswith("chorus: travel.contexts has no demo.py: declare DEMO there")


def test_a_saga_of_another_system_is_simulated(system: Path) -> None:
    said = started(system, sys.executable, "tested.py")
    assert said.stdout == "FlightBooked RoomBooked\n", said.stderr


@pytest.mark.parametrize(
    ("pyproject", "told"),
    [
        ('[tool.chorus]\ncontexts = "elsewhere.contexts"\n', "there is no package 'elsewhere.contexts' here"),
        ('[tool.chorus]\ncontexts = "travel.nothing"\n', "there is no package 'travel.nothing' here"),
        ("[tool.chorus]\ncontexts = 1\n", "[tool.chorus] contexts: 1 is no package: write it like travel.contexts"),
        ("[tool", "pyproject.toml cannot be read: "),
    ],
)
def test_a_package_that_cannot_be_found_exits_78_with_what_to_do(system: Path, pyproject: str, told: str) -> None:
    (system / "pyproject.toml").write_text(pyproject)
    said = chorus(system, "health")
    assert said.returncode == 78
    assert told in said.stderr
    assert len(said.stderr.splitlines()) == 1


BROKEN = "from travel import nothing_there\n"


def test_an_exception_in_a_worker_shows_its_own_traceback_and_exits_78(system: Path) -> None:
    (system / "travel/contexts/flights/worker.py").write_text(BROKEN)
    for words in (("send", "flights.BookFlight", "t-1"), ("streams", "plan"), ("worker", "flights")):
        said = chorus(system, *words, CHORUS_LOG_FORMAT="console")
        assert said.returncode == 78, said.stderr
        shown = said.stderr[said.stderr.index("Traceback") :].splitlines()
        assert shown[1].strip().startswith(f'File "{system}/travel/contexts/flights/worker.py", line 1'), said.stderr
        assert "travel/contexts/flights/worker.py: ImportError: cannot import name 'nothing_there'" in said.stderr
        assert "fault of ours" not in said.stderr


def test_a_broken_context_does_not_keep_others_from_being_used(system: Path) -> None:
    (system / "travel/contexts/hotels/worker.py").write_text(BROKEN)
    (system / "travel/contexts/hotels/settings.py").write_text(BROKEN)
    said = chorus(system, "send", "flights.BookFlight", "t-1", "to=Bern", "--show-nats")
    assert (said.returncode, said.stderr) == (0, "")
    assert chorus(system, "parked", "ls").returncode == 0


def test_all_mistakes_of_all_contexts_are_told_at_once(system: Path) -> None:
    hotels, flights = (system / f"travel/contexts/{name}/worker.py" for name in ("hotels", "flights"))
    hotels.write_text(
        hotels.read_text()
        .replace("class FlightBooked(", "class FlightBokked(")
        .replace("FlightBooked,", "FlightBokked,")
        .replace("FlightBooked)", "FlightBokked)")
    )
    flights.write_text(flights.read_text().replace('key="trip_id"', 'key="trip"'))
    said = chorus(system, "streams", "plan")
    assert said.returncode == 78
    first, second, third = said.stderr.splitlines()
    assert first.startswith(
        "chorus: travel.contexts.flights.worker.BookFlight has no field 'trip', the key of flights's"
    )
    assert second.startswith("travel.contexts.flights.worker.FlightBooked has no field 'trip'")
    assert third == "hotels hears flights.FlightBokked, which flights never says (did you mean 'FlightBooked'?)"
