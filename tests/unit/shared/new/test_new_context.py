"""`chorus new context` writes a context with which every check passes, in any system, or writes nothing."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import yaml

from shared import catalog
from shared.config.settings import Settings
from shared.new.changes import NewError, changes
from shared.new.heard import find_heard
from shared.new.names import Names, check_context_name, names_of, singular, snake
from shared.new.rendering import render
from shared.new.source import Source
from shared.new.system import write_system
from shared.new.words import words_of
from tests.architecture.pages import ROOT
from tests.other_system import SCRIPT, chorus, started, write_travel

MEMBERS = catalog.contexts(Settings())
CHECKS = ("canvases", "choreography", "flow", "golden_events", "readers", "rejections", "sagas", "schemas")
"""The contract tests that ask for something of each context."""

OF_THE_SHOP = ("contexts", "shared", "tests", "docs", "deploy", ".ci")


@pytest.fixture
def system(tmp_path: Path) -> Path:
    write_system(tmp_path, Source("chorus[server]", ""))
    return tmp_path


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this repository with a new context, which hears two events whose keys have other names."""
    copy = tmp_path_factory.mktemp("shop")
    left_out = shutil.ignore_patterns("__pycache__", "bin")
    for name in OF_THE_SHOP:
        shutil.copytree(ROOT / name, copy / name, ignore=left_out)
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, copy)
    hears = ("--hears", "shipping.OrderDelivered", "--hears", "inventory.StockReplenished")
    made = chorus(copy, "new", "context", "invoices", *hears)
    assert made.returncode == 0, made.stderr
    assert "  tell of InvoiceReserved and InvoiceReleased in CHANGELOG.md" in made.stdout.splitlines()
    return copy


def snapshot(directory: Path) -> dict[str, bytes]:
    """Every file of a directory; caches aside."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def complaints(directory: Path, *commands: Sequence[str]) -> str:
    """Run tools beside our interpreter; their complaints."""
    said = ""
    for name, *words in commands:
        tool = Path(SCRIPT).with_name(name)
        ran = subprocess.run([tool, *words], cwd=directory, capture_output=True, text=True, timeout=300, check=False)
        said += "" if ran.returncode == 0 else ran.stdout + ran.stderr
    return said


LINTERS = (("ruff", "check", "--no-cache"), ("ruff", "format", "--check", "--no-cache"), ("lint-imports", "--no-cache"))


def run_tests(directory: Path, *words: str) -> None:
    ran = started(directory, sys.executable, "-m", "pytest", *words, within_s=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_check_passes_in_a_new_system(system: Path) -> None:
    """Among the names are one of the standard library's, and one so long that lines are wrapped."""
    for words in (
        ("cars", "--hears", "hotels.RoomReserved", "--hears", "hotels.RoomReserved"),
        ("queue",),
        ("internationaldeliveries", "--hears", "queue.QueueReserved", "--hears", "flights.FlightReserved"),
    ):
        made = chorus(system, "new", "context", *words)
        assert made.returncode == 0, made.stderr
    hears = ("--hears", "cars.CarReserved", "--hears", "queue.QueueReserved")
    made = chorus(system, "new", "readside", "reports", *hears)
    assert made.returncode == 0, made.stderr
    assert "| `RoomReserved` |" in (system / "contexts/cars/README.md").read_text()
    run_tests(system, "tests/test_contexts.py", "tests/unit")
    assert complaints(system, *LINTERS) == ""


@pytest.mark.long
def test_its_types_are_right_in_a_new_system(system: Path) -> None:
    for words in (("cars", "--hears", "hotels.RoomReserved"), ("queue",)):
        assert chorus(system, "new", "context", *words).returncode == 0
    assert chorus(system, "new", "readside", "reports", "--hears", "hotels.RoomReserved").returncode == 0
    assert complaints(system, ("mypy",)) == ""


def test_modules_are_clean_as_they_are_rendered_where_no_linter_is_installed(system: Path) -> None:
    heard = find_heard(["shipping.OrderDelivered", "inventory.StockReplenished"], MEMBERS, "contexts")
    for name, hears in (("apples", heard), ("zoos", heard[:1]), ("lone", ())):
        names = Names(name, singular(name))
        for path, text in render("context", words_of(names, hears, "contexts")).items():
            file = system / "contexts" / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text if hears or path.stem not in ("policies", "upstream") else "")
    complained = complaints(system, ("ruff", "check", "--no-cache"), ("ruff", "format", "--check", "--no-cache"))
    assert complained == ""


def test_a_read_side_that_cannot_be_is_refused_and_nothing_is_written(system: Path) -> None:
    before = snapshot(system)
    for words, problem in (
        (("reports",), "give --hears CONTEXT.EVENT"),
        (("reports", "--hears", "hotels.RoomReservd"), "did you mean 'RoomReserved'"),
        (("hotels", "--hears", "hotels.RoomReserved"), "exists already"),
    ):
        made = chorus(system, "new", "readside", *words)
        assert (made.returncode, problem in made.stderr) == (64, True), made.stderr
    assert snapshot(system) == before


def test_the_package_may_have_another_name(tmp_path: Path) -> None:
    write_travel(tmp_path)
    made = chorus(tmp_path, "new", "context", "cars", "--hears", "hotels.RoomReserved")
    assert made.returncode == 0, made.stderr
    assert "wrote travel/contexts/cars/policies.py" in made.stdout.splitlines()
    policies = (tmp_path / "travel/contexts/cars/policies.py").read_text()
    assert "from travel.contexts.cars.commands import ReserveCar\n" in policies
    assert "# cars\n" in (tmp_path / "travel/streams.yaml").read_text()


def test_it_is_entered_into_every_list_of_the_shop(shop: Path) -> None:
    """Each of these a check of the shop asks for."""
    compose = yaml.safe_load((shop / "docker-compose.yml").read_text())
    assert compose["services"]["invoices"]["command"] == ["worker", "invoices"]
    assert "invoices-data" in compose["volumes"]
    assert "| `StockReplenished` | inventory | invoices |" in (shop / "docs/tutorial.md").read_text()
    assert "| `invoices.ReserveInvoice` | `order_id` |" in (shop / "docs/domain.md").read_text()
    assert "(contexts/invoices/README.md)" in (shop / "README.md").read_text()
    assert "chorus-worker@invoices\n" in (shop / "docs/operate.md").read_text()
    mounts = compose["services"]["invoices"]["volumes"]
    assert [mount["volume"]["subpath"] for mount in mounts if isinstance(mount, dict)] == ["invoices"]
    assert "\nRIGHTS_invoices: {\n" in (shop / "deploy/nats/rights.conf").read_text()
    assert "# invoices\n" in (shop / "streams.yaml").read_text()
    assert (shop / "tests/contract/golden/invoices/InvoiceReserved.json").is_file()
    assert '(["a client sends it"])' in (shop / "docs/board.md").read_text().split("### invoices in order\n")[1]
    assert chorus(shop, "flow", "--check").returncode == 0
    assert chorus(shop, "schema", "export").stdout.startswith("nothing to do")
    assert complaints(shop, *LINTERS) == ""


@pytest.mark.long
def test_all_checks_of_the_shop_pass(shop: Path) -> None:
    assert complaints(shop, ("mypy",)) == ""
    of_contexts = [f"tests/contract/test_{name}.py" for name in CHECKS]
    run_tests(shop, "tests/architecture", *of_contexts, "tests/unit/invoices")


def test_an_event_with_a_key_of_another_name_is_heard_under_the_first_key(shop: Path) -> None:
    policies = (shop / "contexts/invoices/policies.py").read_text()
    assert "return [ReserveInvoice(order_id=event.order_id)]" in policies
    assert "return [ReserveInvoice(order_id=OrderId(event.sku))]" in policies


@pytest.mark.parametrize("words", [("class",), ("flights",), ("cars", "--hears", "hotels.RoomReservd")], ids=" ".join)
def test_a_wrong_command_line_exits_64_and_nothing_is_written(system: Path, words: tuple[str, ...]) -> None:
    before = snapshot(system)
    said = chorus(system, "new", "context", *words)
    assert (said.returncode, said.stdout) == (64, "")
    assert len(said.stderr.splitlines()) == 1
    assert snapshot(system) == before


def tests_are_no_directory(system: Path) -> None:
    shutil.rmtree(system / "tests/unit")
    (system / "tests/unit").touch()


def choreography_has_no_end(system: Path) -> None:
    file = system / "streams.yaml"
    file.write_text(file.read_text().replace("# --- end: choreography ---", ""))


def context_is_broken(system: Path) -> None:
    (system / "contexts/hotels/policies.py").write_text("import nothing_there\n")


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (tests_are_no_directory, 64, "Not a directory; nothing was written"),
        (choreography_has_no_end, 78, "the choreography needs one begin and one end"),
        (context_is_broken, 78, "No module named 'nothing_there'"),
    ],
)
def test_a_run_that_fails_is_reported_and_taken_back(
    system: Path, spoil: Callable[[Path], None], code: int, told: str
) -> None:
    spoil(system)
    before = snapshot(system)
    said = started(system, SCRIPT, "new", "context", "cars", "--hears", "hotels.RoomReserved")
    assert (said.returncode, said.stdout) == (code, "")
    assert told in said.stderr.splitlines()[-1]
    assert snapshot(system) == before
    assert not (system / "contexts/cars").exists()


def test_changes_of_which_one_fails_are_all_taken_back(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for file in (first, second):
        file.write_text("before")
    (tmp_path / f".second.{os.getpid()}").mkdir()  # The unfinished file has this name.

    def change() -> None:
        with changes() as made:
            made.create(tmp_path / "new/directory/file", "new")
            made.replace(first, "after")
            made.replace(second, "after")

    with pytest.raises(NewError, match="second: Is a directory; nothing was written"):
        change()
    assert snapshot(tmp_path) == {"first": b"before", "second": b"before"}
    assert not (tmp_path / "new").exists()


def test_two_contexts_that_are_made_at_once_are_both_entered(system: Path) -> None:
    commands = [[SCRIPT, "new", "context", name, "--hears", "hotels.RoomReserved"] for name in ("cars", "boats")]
    running = [subprocess.Popen(command, cwd=system, stdout=subprocess.DEVNULL) for command in commands]
    assert [process.wait(timeout=60) for process in running] == [0, 0]
    assert "#   says       RoomReserved -> boats, cars\n" in (system / "streams.yaml").read_text()


def test_a_directory_without_contexts_of_its_own_is_told_what_to_do(tmp_path: Path) -> None:
    said = started(tmp_path, SCRIPT, "new", "context", "cars")
    assert (said.returncode, said.stdout) == (64, "")
    assert "or make one: chorus new system DIR" in said.stderr
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("1st", "'1st' is no name: use a to z, then a to z and digits, 24 characters at the most, such as 'st'"),
        ("Cars", "such as 'cars'"),
        ("car-rental", "such as 'carrental'"),
        ("voitureslouées", "such as 'voitureslou"),
        ("x" * 25, "24 characters at the most"),
        ("", "'' is no name"),
        ("../cars", "such as 'cars'"),
        ("class", "'class' is a word of Python"),
        ("none", "'none' is a word of Python"),
        ("kernel", "'kernel' is the name of a module that all contexts share"),
        ("nats", "'nats' is the name of a process that runs beside the contexts"),
    ],
)
def test_a_name_that_cannot_be_used_is_reported_with_one_that_can(name: str, told: str) -> None:
    with pytest.raises(NewError, match=re.escape(told)):
        check_context_name(name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("inventories", "'inventories' needs an event InventoryReserved, which inventory publishes"),
        ("contexts", "'contexts' needs a class Context, which hides one of Chorus"),
    ],
)
def test_a_name_whose_classes_are_taken_is_reported(name: str, told: str) -> None:
    with pytest.raises(NewError, match=re.escape(told)):
        names_of(name, (), MEMBERS)


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ("shipping.OrderDeliverd", "publishes no event 'OrderDeliverd' (did you mean 'OrderDelivered'?)"),
        ("shiping.OrderDelivered", "(did you mean 'shipping.OrderDelivered'?)"),
        ("notifications.Nothing", "it publishes NotificationHeld, NotificationQueued"),
        ("shipping", "write CONTEXT.EVENT, an event that a context here publishes"),
    ],
)
def test_an_event_that_is_not_published_is_reported_with_one_that_is(event: str, told: str) -> None:
    with pytest.raises(NewError, match=re.escape(told)):
        find_heard([event], MEMBERS, "contexts")


@pytest.mark.parametrize(
    ("name", "one"),
    [("cars", "car"), ("companies", "company"), ("addresses", "address"), ("boxes", "box"), ("bus", "bus"),
     ("shipping", "shipping"), ("analysis", "analysis"), ("news", "new"), ("s", "s")],
)  # fmt: skip
def test_an_aggregate_is_one_of_what_the_context_is_named_after(name: str, one: str) -> None:
    assert singular(name) == one


@pytest.mark.parametrize(
    ("event", "word"), [("RoomReserved", "room_reserved"), ("PDFMade", "pdf_made"), ("Room2Let", "room2_let")]
)
def test_a_function_names_the_event_that_it_hears(event: str, word: str) -> None:
    assert snake(event) == word
