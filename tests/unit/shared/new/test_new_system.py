"""`chorus new system` writes a system that runs, passes its own tests and is clean, or writes nothing."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Thread

import pytest

from shared.new.changes import NewError
from shared.new.source import Source, source_of
from shared.new.system import project_name, write_system
from tests.architecture.pages import ROOT
from tests.other_system import SCRIPT, chorus, started

ANYWHERE = Source("chorus[server]", "")


def listing(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def tool(name: str, *words: str, cwd: Path) -> str:
    """Run a tool beside our interpreter; its complaints."""
    ran = subprocess.run(
        [Path(SCRIPT).with_name(name), *words], cwd=cwd, capture_output=True, text=True, timeout=120, check=False
    )
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A system as the command makes it, below a directory with a blank and a letter that is not ASCII."""
    where = tmp_path_factory.mktemp("new") / "été à deux"
    said = chorus(where.parent, "new", "system", where.name)
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines()[-3:] == [f"  cd '{where.name}'", "  uv run chorus demo", "  uv run pytest"]
    return where


def test_its_own_tests_pass(system: Path) -> None:
    said = started(system, sys.executable, "-m", "pytest")
    assert said.returncode == 0, said.stdout + said.stderr


def test_its_demo_ends_as_it_must(system: Path) -> None:
    said = chorus(system, "demo", "--in-memory")
    assert said.returncode == 0, said.stdout + said.stderr
    assert "3 of 3 sagas ended as they must" in said.stdout


def test_it_is_clean(system: Path) -> None:
    assert tool("ruff", "check", "--no-cache", cwd=system) == ""
    assert tool("ruff", "format", "--check", "--no-cache", cwd=system) == ""
    assert tool("lint-imports", "--no-cache", cwd=system) == ""


@pytest.mark.long
def test_its_types_are_right(system: Path) -> None:
    assert tool("mypy", cwd=system) == ""


def test_its_readme_has_the_two_commands_that_the_command_names(system: Path) -> None:
    blocks = (system / "README.md").read_text().split("```")[1::2]
    assert blocks == ["sh\nuv run chorus demo\n", "sh\nuv run pytest\n"]


def test_it_takes_chorus_from_where_the_running_one_was_installed(system: Path) -> None:
    project = tomllib.loads((system / "pyproject.toml").read_text())
    assert project["project"]["dependencies"] == ["chorus[server]"]
    assert project["tool"]["uv"]["sources"]["chorus"] == {"path": str(ROOT), "editable": True}


@pytest.mark.parametrize(
    ("recorded", "requirement", "location"),
    [
        (None, "chorus[server]==1.2", {}),
        (
            '{"url": "file:///a%20b/chorus", "dir_info": {"editable": true}}',
            "chorus[server]",
            {"path": "/a b/chorus", "editable": True},
        ),
        ('{"url": "file:///a/chorus", "dir_info": {}}', "chorus[server]", {"path": "/a/chorus"}),
        ('{"url": "file:///a/chorus.whl", "archive_info": {}}', "chorus[server]", {"path": "/a/chorus.whl"}),
        (
            '{"url": "https://example.com/c.zip", "archive_info": {}}',
            "chorus[server]",
            {"url": "https://example.com/c.zip"},
        ),
        (
            '{"url": "https://example.com/c", "vcs_info": {"vcs": "git", "commit_id": "f00"}}',
            "chorus[server]",
            {"git": "https://example.com/c", "rev": "f00"},
        ),
        (
            '{"url": "https://example.com/c", "subdirectory": "d", "vcs_info": {"vcs": "git", "commit_id": "f00"}}',
            "chorus[server]",
            {"git": "https://example.com/c", "rev": "f00", "subdirectory": "d"},
        ),
    ],
)
def test_the_source_is_the_one_that_the_installer_recorded(
    recorded: str | None, requirement: str, location: dict[str, object]
) -> None:
    source = source_of("1.2", recorded)
    assert source.requirement == requirement
    assert (tomllib.loads(f"chorus = {source.location}")["chorus"] if source.location else {}) == location


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("travel", "travel"),
        ("My Travel", "my-travel"),
        ("été", "ete"),
        ("旅行", "my-system"),
        ("chorus", "chorus-system"),
        ("anyio", "anyio-system"),
        ("..", "my-system"),
    ],
)
def test_a_project_is_named_after_its_directory_and_like_no_package_that_it_needs(title: str, name: str) -> None:
    assert project_name(title) == name


def occupied(directory: Path) -> None:
    directory.mkdir()
    (directory / "kept").write_text("kept")


def file(directory: Path) -> None:
    directory.write_text("kept")


@pytest.mark.parametrize(("prepare", "told"), [(occupied, "is not empty"), (file, "is no directory")])
def test_a_place_that_is_taken_exits_64_and_stays_as_it_is(
    tmp_path: Path, prepare: Callable[[Path], None], told: str
) -> None:
    prepare(tmp_path / "travel")
    before = listing(tmp_path)
    said = chorus(tmp_path, "new", "system", "travel")
    assert (said.returncode, said.stdout) == (64, "")
    assert said.stderr == f"chorus: 'travel' {told}; name a new directory, or an empty one\n"
    assert listing(tmp_path) == before


def test_a_directory_that_cannot_be_made_is_reported_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NewError, match="Not a directory"):
        write_system(tmp_path / "file/travel", ANYWHERE)
    assert listing(tmp_path) == {"file"}


def test_what_cannot_be_written_whole_is_taken_back(tmp_path: Path) -> None:
    with pytest.raises(NewError, match="File name too long; nothing was written"):
        write_system(tmp_path / "made" / ("x" * 300), ANYWHERE)
    assert [*tmp_path.iterdir()] == []


def test_one_of_two_runs_at_once_makes_the_system(tmp_path: Path) -> None:
    """Both begin with the same file, which only one of them can make."""
    at_once, ended = Barrier(2), []

    def run() -> None:
        at_once.wait()
        try:
            ended.append(len(write_system(tmp_path / "travel", ANYWHERE)))
        except NewError:
            ended.append(0)

    runs = [Thread(target=run) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    written = listing(tmp_path / "travel")
    assert sorted(ended) == [0, len(written)]
    assert "contexts/hotels/worker.py" in written
