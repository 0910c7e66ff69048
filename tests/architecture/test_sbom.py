"""The SBOM lists every package that is installed, and a worker runs on permissive licences only."""

import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that the script has written, beside a copy of it."""
    directory = tmp_path_factory.mktemp("sbom")
    (directory / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/sbom", directory / ".ci/sbom")
    subprocess.run([sys.executable, directory / ".ci/sbom"], check=True, capture_output=True, timeout=60)
    return directory / ".sbom"


def test_sbom_lists_every_installed_package_with_its_version(made: Path) -> None:
    sbom: dict[str, Any] = json.loads((made / "chorus.cdx.json").read_text())
    assert (sbom["bomFormat"], sbom["specVersion"]) == ("CycloneDX", "1.6")
    installed = {(re.sub(r"[-_.]+", "-", one.metadata["Name"]).lower(), one.version) for one in distributions()}
    assert {(one["name"], one["version"]) for one in sbom["components"]} == {
        (name, version) for name, version in installed if name != "chorus"
    }
    assert all(one["purl"] == f"pkg:pypi/{one['name']}@{one['version']}" for one in sbom["components"])


def test_worker_needs_its_dependencies_and_no_tool_of_the_tests(made: Path) -> None:
    sbom: dict[str, Any] = json.loads((made / "chorus.cdx.json").read_text())
    scopes = {one["name"]: one["scope"] for one in sbom["components"]}
    assert {scopes[name] for name in ("nats-py", "nkeys", "pynacl", "msgspec", "aiosqlite")} == {"required"}
    assert {scopes[name] for name in ("pytest", "mypy", "hypothesis")} == {"excluded"}
    listed = [line.partition(" ")[0] for line in (made / "licences.txt").read_text().splitlines()]
    assert listed == sorted(name for name, scope in scopes.items() if scope == "required")


def test_ci_makes_it() -> None:
    assert re.search(r"^\.uv/bin/uv run python \.ci/sbom$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
