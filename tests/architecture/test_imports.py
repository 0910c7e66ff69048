"""The import contracts of pyproject.toml hold, and each is seen to break."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")
CLOCK_OR_CHANCE = re.compile(r"\.(?:now|today|utcnow|time|monotonic)\(|\bimport (?:random|uuid|secrets|logging|os)\b")
REACHES_OUT = {"effects.py", "older_books.py", "projections.py", "worker.py", "__main__.py"}

PLANTED = [
    ("contexts/here/upstream.py", "import contexts.there.events", "Contexts never import each other"),
    ("shared/wire/bodies.py", "import contexts.here.events", "The machinery knows no context"),
    ("shared/engine/loop.py", "import shared.adapters.clock", "Imports point one way"),
    (
        "shared/engine/decide/inbox.py",
        "import shared.engine.loop",
        "The stages of the engine depend on earlier ones only",
    ),
    ("shared/wire/bodies.py", "import nats", "One package speaks to NATS"),
    ("contexts/here/effects.py", "import aiosqlite", "One module opens SQLite"),
    ("shared/groups/forwarding/forwarder.py", "import httpx2", "One module asks HTTP servers"),
    ("shared/worker/main.py", "import opentelemetry", "One module sends spans"),
    (
        "shared/repair/parked.py",
        "import shared.adapters.sqlite.reading",
        "Only what starts a process or a command chooses adapters",
    ),
    (
        "shared/engine/effects.py",
        "import asyncio",
        "asyncio is used where nats-py, the virtual loop, speed or a task without a group needs it",
    ),
    ("contexts/here/decider.py", "import random", "What decides is pure"),
    ("contexts/here/decider.py", "import shared.adapters.sqlite.connection", "What decides is pure"),
    ("contexts/here/policies.py", "import contexts.here.effects", "What decides is pure"),
]


def lint_imports(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=directory,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_import_contract_is_kept() -> None:
    linted = lint_imports(ROOT)
    assert linted.returncode == 0, linted.stdout + linted.stderr


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report on a small copy of the packages that keeps every contract until the imports are planted in it."""
    root = tmp_path_factory.mktemp("planted")
    machinery = [str(path.relative_to(ROOT)) for path in ROOT.glob("shared/**/*.py")]
    packages = [f"contexts{name}/__init__.py" for name in ("", "/here", "/there")]
    contexts = [
        "contexts/batching.py",
        "contexts/kernel.py",
        "contexts/mail.py",
        "contexts/door.py",
        "contexts/here/commands.py",
        "contexts/mail_settings.py",
        "contexts/here/events.py",
        "contexts/here/effects.py",
        "contexts/here/settings.py",
        "contexts/there/events.py",
    ]
    for name in [*machinery, *packages, *contexts, *(where for where, _, _ in PLANTED)]:
        module = root / name
        module.parent.mkdir(parents=True, exist_ok=True)
        module.write_text("")
    (root / "shared/adapters/jetstream/broker.py").write_text("import nats\n")
    (root / "shared/adapters/tracing/otlp.py").write_text("import opentelemetry\n")
    (root / "shared/adapters/sqlite/connection.py").write_text("import aiosqlite\n")
    (root / "contexts/batching.py").write_text("import asyncio\n")
    (root / "contexts/mail.py").write_text("import contexts.batching\n")
    (root / "shared/adapters/http.py").write_text("import httpx2\n")
    (root / "shared/adapters/tracing/otlp.py").write_text("import opentelemetry\n")
    (root / "contexts/here/events.py").write_text("import contexts.kernel\n")
    (root / "contexts/here/effects.py").write_text("import contexts.mail\n")
    (root / "contexts/door.py").write_text("import contexts.here.commands\n")
    (root / "contexts/here/settings.py").write_text("import contexts.mail_settings\n")
    (root / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (root / "tests").symlink_to(ROOT / "tests")
    kept = lint_imports(root)
    assert kept.returncode == 0, kept.stdout + kept.stderr
    for where, what, _ in PLANTED:
        with (root / where).open("a") as module_file:
            module_file.write(f"{what}\n")
    broken = lint_imports(root)
    assert broken.returncode == 1, broken.stdout + broken.stderr
    print(broken.stdout)
    return broken.stdout


@pytest.mark.parametrize(("where", "what", "contract"), PLANTED)
def test_a_planted_import_breaks_its_contract(planted: str, where: str, what: str, contract: str) -> None:
    importer, imported = where.removesuffix(".py").replace("/", "."), what.removeprefix("import ")
    assert f"{contract} BROKEN" in planted
    (report,) = re.findall(rf"^{contract}\n-+$(.*?)(?:^-+$|\Z)", planted, re.MULTILINE | re.DOTALL)
    assert re.search(rf"{re.escape(importer)}\b.* {re.escape(imported)}\b", report), report


def test_module_of_the_machinery_with_asyncio_says_why_in_its_docstring() -> None:
    texts = {path: path.read_text() for path in ROOT.glob("shared/**/*.py")}
    modules = {path: ast.parse(text) for path, text in texts.items() if "asyncio" in text}
    users = {path for path, tree in modules.items() if any(map(is_asyncio_import, ast.walk(tree)))}
    assert [path for path in users if "asyncio" not in (ast.get_docstring(modules[path]) or "")] == []


def is_asyncio_import(node: ast.AST) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom) and "asyncio" in ast.unparse(node)


def test_deciding_asks_no_clock_and_no_chance() -> None:
    modules = [path for path in ROOT.glob("contexts/*/*.py") if path.name not in REACHES_OUT]
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in modules
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if CLOCK_OR_CHANCE.search(line)
    ]
    assert found == []
