"""The system that docs/your-own-system.md builds: commands run, files are clean, sagas end as it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.pages import ROOT
from tests.other_system import SCRIPT, started
from tests.own_system import PAGE, Builder, steps


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Builder:
    builder = Builder(tmp_path_factory.mktemp("page"))
    builder.follow(tests=False)
    return builder


def test_every_command_of_the_page_runs_and_the_checks_name_what_the_page_shows(built: Builder) -> None:
    said = {step.command: (step, ran) for step, ran in built.ran}
    assert {"chorus demo", "chorus streams write", "uv run pytest"} < said.keys()
    for step, ran in said.values():
        named = re.findall(r"^FAILED (\S+)", step.shown, re.MULTILINE)
        assert ran.returncode == (1 if named else 0), ran.stdout + ran.stderr
        assert re.findall(r"^FAILED (\S+)", ran.stdout, re.MULTILINE) == named


def test_the_tests_of_the_page_pass(built: Builder) -> None:
    tested = started(built.system, sys.executable, "-m", "pytest", within_s=240)
    assert tested.returncode == 0, tested.stdout
    assert "tests/test_car_sagas.py" in {step.file for step in steps()}


@pytest.mark.parametrize(
    "words",
    [
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
        ("lint-imports", "--no-cache"),
        pytest.param(("mypy",), marks=pytest.mark.long),
    ],
    ids=" ".join,
)
def test_what_the_page_builds_is_clean(built: Builder, words: tuple[str, ...]) -> None:
    name, *options = words
    ran = subprocess.run(
        [Path(SCRIPT).with_name(name), *options],
        cwd=built.system, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_file_that_the_page_names_is_there(built: Builder) -> None:
    named = {name for name in PAGE.names if re.fullmatch(r"(?:contexts|tests)/[\w./-]+", name)}
    removed = {step.command.removeprefix("rm ") for step in steps() if step.command.startswith("rm ")}
    assert [name for name in sorted(named - removed) if not (built.system / name).exists()] == []


@pytest.mark.long
def test_the_page_can_be_followed_to_the_letter(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    builder.follow(tests=True)
    tested = [ran.returncode for step, ran in builder.ran if step.command == "uv run pytest"]
    assert tested == [0, 0, 1, 0]
    assert str(ROOT) in (builder.system / "pyproject.toml").read_text()
