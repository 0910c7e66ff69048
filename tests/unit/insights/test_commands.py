"""The commands of an operator about the read side: `chorus rebuild insights`, `chorus flow --topologies`."""

import os
from functools import partial
from pathlib import Path

import anyio
import pytest

from shared.adapters.sqlite.views.store import only_one
from shared.config.exit_codes import Exit
from tests.forking import run_chorus

PROJECTION = "insights-projection.db"


def chorus(directory: Path, *words: str) -> tuple[int, str, str]:
    """Run a command with this data directory; its exit code, output and errors."""
    ran = anyio.run(partial(run_chorus, *words, environ={**os.environ, "CHORUS_DATA_DIR": str(directory)}))
    return ran.code, ran.output, ran.errors


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / PROJECTION).write_bytes(b"a database")
    return tmp_path


def test_a_rebuild_sets_the_database_of_each_group_aside_when_it_is_told_to(directory: Path) -> None:
    code, _, refused = chorus(directory, "rebuild", "insights")
    assert (code, "chorus rebuild insights --force" in refused) == (Exit.NO, True)
    code, said, _ = chorus(directory, "rebuild", "insights", "--force")
    assert (code, "fold EVENTS again" in said) == (Exit.OK, True)
    assert not (directory / PROJECTION).exists()
    (aside,) = directory.glob(f"{PROJECTION}.*.aside")
    assert aside.read_bytes() == b"a database"


def test_a_rebuild_leaves_the_database_of_a_running_group_alone(directory: Path) -> None:
    with only_one(directory / PROJECTION) as alone:
        assert alone
        code, _, refused = chorus(directory, "rebuild", "insights", "--force")
    assert (code != Exit.OK, "a process has it open; stop the worker of insights-projection first" in refused) == (
        True,
        True,
    )
    assert (directory / PROJECTION).exists()


def test_the_topologies_are_drawn_stage_by_stage(directory: Path) -> None:
    code, said, _ = chorus(directory, "flow", "--topologies")
    assert code == Exit.OK
    assert "  topology placed_to_paid" in said.splitlines()
    assert "    | join source payments.PaymentSucceeded within 30d" in said.splitlines()
    assert "    | window tumbling 1h, grace 30s" in said.splitlines()
    code, said, _ = chorus(directory, "flow", "--topologies", "--format", "mermaid")
    assert said.startswith("flowchart LR\n")
