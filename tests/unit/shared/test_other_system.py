"""Another package of contexts runs on the same machinery, and no command then mentions the shop."""

import json
import re
import sys
from pathlib import Path

import pytest

from shared import catalog
from shared.config.settings import default_streams_file
from tests.other_system import SCRIPT, chorus, started, write_travel


@pytest.fixture
def system(tmp_path: Path) -> Path:
    write_travel(tmp_path)
    return tmp_path


def test_the_directory_one_stands_in_says_which_contexts_run(system: Path) -> None:
    said = started(system, SCRIPT, "config", "--json")
    settings = {setting["name"]: setting for setting in json.loads(said.stdout)}
    assert settings["contexts"]["value"] == "travel.contexts"
    assert settings["nights_at_most"]["default"] == "14"
    assert "order_deadline" not in settings
    assert "there are flights, hotels" in chorus(system, "worker", "ordering").stderr
    assert "did you mean 'CHORUS_NIGHTS_AT_MOST'" in chorus(system, "config", CHORUS_NIGHTS_ATMOST="1").stderr


def test_the_variable_says_which_contexts_run(system: Path) -> None:
    (system / "pyproject.toml").write_text("")
    assert "there are bank, insights, inventory" in chorus(system, "worker", "nobody").stderr
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


def test_the_streams_file_of_another_package_is_not_written(system: Path) -> None:
    (system / "travel/streams.yaml").unlink()
    taken = default_streams_file()
    before = taken.read_bytes()
    try:
        said = chorus(system, "streams", "write")
        assert taken.read_bytes() == before
    finally:
        taken.write_bytes(before)
    problem = f"travel.contexts has no streams.yaml; copy {taken} beside the package, then run chorus streams write"
    assert (said.returncode, said.stdout, said.stderr) == (78, "", f"chorus: {problem}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("send", "--help"),
        ("send", "flights.ReserveFlight", "--help"),
        ("send", "flights.ReserveFligth", "t-1"),
        ("send", "flights.ReserveFlight", "t-1", "to=Bern", "nights=3", "--show-nats"),
        ("streams", "plan", "--show-nats"),
        ("flow",),
        ("schema", "export"),
        ("schema", "--help"),
        ("flow", "--help"),
        ("up", "--help"),
        ("demo", "--help"),
        ("demo", "--in-memory"),
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
    (system / "travel/contexts/demo.py").unlink()
    said = chorus(system, "demo")
    assert said.returncode == 1
    assert said.stderr.startswith("chorus: travel.contexts has no demo.py: declare DEMO there")


def test_a_saga_of_another_system_is_simulated(system: Path) -> None:
    said = started(system, sys.executable, "-m", "pytest", "-k", "gives_its_flight_back")
    assert said.returncode == 0, said.stdout


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
    for words in (("send", "flights.ReserveFlight", "t-1"), ("streams", "plan"), ("worker", "flights")):
        said = chorus(system, *words, CHORUS_LOG_FORMAT="console")
        assert said.returncode == 78, said.stderr
        shown = said.stderr[said.stderr.index("Traceback") :].splitlines()
        assert shown[1].strip().startswith(f'File "{system}/travel/contexts/flights/worker.py", line 1'), said.stderr
        assert "travel/contexts/flights/worker.py: ImportError: cannot import name 'nothing_there'" in said.stderr
        assert "fault of ours" not in said.stderr


def test_a_broken_context_does_not_keep_others_from_being_used(system: Path) -> None:
    (system / "travel/contexts/hotels/worker.py").write_text(BROKEN)
    (system / "travel/contexts/hotels/settings.py").write_text(BROKEN)
    said = chorus(system, "send", "flights.ReserveFlight", "t-1", "to=Bern", "nights=3", "--show-nats")
    assert (said.returncode, said.stderr) == (0, "")
    assert chorus(system, "parked", "ls").returncode == 0


def test_all_mistakes_of_all_contexts_are_reported_at_once(system: Path) -> None:
    for name in ("upstream.py", "policies.py"):
        module = system / "travel/contexts/hotels" / name
        module.write_text(module.read_text().replace("FlightReserved", "FlightReservd"))
    worker = system / "travel/contexts/flights/worker.py"
    worker.write_text(worker.read_text().replace('key="trip_id"', 'key="trip"'))
    said = chorus(system, "streams", "plan")
    assert said.returncode == 78
    *fields, last = said.stderr.removeprefix("chorus: ").splitlines()
    for field, message in zip(
        fields,
        ("commands.ReserveFlight", "commands.ReleaseFlight", "events.FlightReserved", "events.FlightReleased"),
        strict=True,
    ):
        assert field.startswith(f"travel.contexts.flights.{message} has no field 'trip', the key of flights's")
    assert last == "hotels hears flights.FlightReservd, which flights never publishes (did you mean 'FlightReserved'?)"
