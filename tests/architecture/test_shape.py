"""Learn one context, know all: the same file names everywhere, modules of a readable length, nothing of one machine."""

import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONTEXTS = sorted(path for path in (ROOT / "contexts").iterdir() if (path / "__init__.py").exists())

FILE_NAMES = {
    "README.md",
    "__init__.py",
    "__main__.py",
    "commands.py",
    "decider.py",
    "effects.py",
    "endpoints.py",
    "events.py",
    "older_books.py",  # Takes over the database of an older release.
    "policies.py",
    "pricing.py",  # A domain service: aggregates of one context decide by the same rules.
    "projections.py",
    "settings.py",
    "topologies.py",
    "upcasters.py",
    "upstream.py",
    "worker.py",
}
DOMAIN_SERVICES = {"inventory/backorder.py", "ordering/changes.py", "payments/worth.py"}
"""Pure rules beside the aggregates: shared by several, or a question of their own."""

SHARED_LINES_AT_MOST = 250

NOQA = re.compile(r"#\s?noqa(?!: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)*\s+(?:- )?\w)")
MACHINE_PATH = re.compile(r"/(?:work|root|opt/wheels|home/\w+|Users/\w+)/")
REGISTRY_HOST = re.compile(r"(?:pypi|pythonhosted|npmjs|proxy\.golang|sum\.golang|crates|maven|debian)\.(?:org|com|io)")


def tracked() -> list[Path]:
    """Every file in git's index that is text."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so nobody knows which files are tracked")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def lines_that(pattern: re.Pattern[str], suffix: str = "") -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in tracked()
        if path.name.endswith(suffix)
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def aggregate_modules(context: Path) -> set[str]:
    """The modules that stand in for `decider.py` when a context has several aggregates: each has a `decide`."""
    return {path.name for path in context.glob("*.py") if re.search(r"^def decide\(", path.read_text(), re.MULTILINE)}


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda path: path.name)
def test_a_context_is_flat_and_has_the_file_names_of_every_other(context: Path) -> None:
    names = {path.name for path in context.iterdir() if path.name != "__pycache__"}
    services = {name.rpartition("/")[2] for name in DOMAIN_SERVICES if name.startswith(f"{context.name}/")}
    assert names - FILE_NAMES - services - aggregate_modules(context) == set(), (
        "rename these as other contexts name theirs"
    )
    missing = sorted({"README.md", "worker.py", "__main__.py"} - names)
    assert missing == [], f"contexts/{context.name} lacks these: model each on that of another context"


@pytest.mark.parametrize("context", CONTEXTS, ids=lambda path: path.name)
def test_a_context_has_one_decider_or_one_module_an_aggregate_never_both(context: Path) -> None:
    modules = aggregate_modules(context)
    assert modules == {"decider.py"} or "decider.py" not in modules


def test_a_module_of_the_machinery_is_one_idea() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in ROOT.glob("shared/**/*.py")}
    assert {name: length for name, length in lengths.items() if length > SHARED_LINES_AT_MOST} == {}


def test_every_module_says_in_its_first_line_what_it_is() -> None:
    modules = [path for package in ("contexts", "shared") for path in ROOT.glob(f"{package}/**/*.py")]
    assert [str(path.relative_to(ROOT)) for path in modules if not path.read_text().startswith(('"""', 'r"""'))] == []


def test_an_exception_to_the_linter_has_its_reason() -> None:
    assert lines_that(NOQA, ".py") == []


def test_no_tracked_file_names_a_path_of_a_machine() -> None:
    assert lines_that(MACHINE_PATH) == []


def test_no_tracked_file_names_where_packages_come_from() -> None:
    assert lines_that(REGISTRY_HOST) == []


def test_every_locked_version_is_what_uv_run_takes() -> None:
    constraints = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["constraint-dependencies"]
    locked = re.findall(r"^(\S+==[^\\\n]+?)(?: \\)?$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert constraints == locked, "run .ci/lock"


def test_everything_installed_is_locked() -> None:
    locked = set(re.findall(r"^(\S+)==", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    installed = {re.sub(r"[-_.]+", "-", package.name).lower() for package in distributions()}
    assert installed - locked - {"chorus"} == set(), "run .ci/lock"


def test_a_worker_needs_no_package_with_a_server() -> None:
    """The extra has it, with the pin of the default group, which the README's two commands use."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (pin,) = project["project"]["optional-dependencies"]["server"]
    assert pin in project["dependency-groups"]["dev"]
    assert not [needed for needed in project["project"]["dependencies"] if needed.startswith("nats-server")]
