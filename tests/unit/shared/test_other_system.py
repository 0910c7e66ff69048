"""Another package of contexts runs on the same machinery, and no command then mentions the shop."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shared import catalog
from tests.other_system import write_system

SCRIPT = str(Path(sys.executable).with_name("chorus"))


@pytest.fixture
def system(tmp_path: Path) -> Path:
    write_system(tmp_path)
    return tmp_path


def chorus(
    cwd: Path, *words: str, program: tuple[str, ...] = (SCRIPT,), **environ: str
) -> subprocess.CompletedProcess[str]:
    """What the installed `chorus` says in a directory; it has the shop installed beside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHORUS_", "NATS_", "PYTHONP"))}
    return subprocess.run(
        [*program, *words],
        env={**kept, "COLUMNS": "200", "XDG_CONFIG_HOME": "nowhere", **environ},
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=60,
        check=False,
    )


def test_the_directory_one_stands_in_says_which_contexts_run(system: Path) -> None:
    said = chorus(system, "config", "--json")
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
    assert "there are flights, hotels" in chorus(system, "worker", "nobody").stderr


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
    said = chorus(system, "tested.py", program=(sys.executable,))
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
