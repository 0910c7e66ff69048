"""The context that docs/add-a-context.md builds fits with those of the shop, and passes the linter."""

import subprocess
import sys
from pathlib import Path

from shared import catalog
from tests.architecture.pages import DOCS, EXAMPLE, ROOT

MODULES = ("events", "commands", "decider", "upstream", "policies", "worker", "__init__", "__main__")

SHARED_BY_CONTEXTS = ("batching.py", "kernel.py", "mail.py", "mail_settings.py", "sagas.py")

CHECK = """
import contexts
from shared import catalog
from shared.config.settings import Settings
found = catalog.contexts(Settings())["vouchers"]
from contexts.sagas import SAGAS
from shared.flow.checks.check import check
from shared.flow.graph import derive
print(*check(derive(catalog.contexts(Settings())), SAGAS), sep="", end="")
print(found.accepts[0].__name__, *sorted(event.__name__ for event in found.publishes))
"""


def write_the_example(directory: Path) -> Path:
    """The context of the page beside those of the shop, as a newcomer would have them."""
    (directory / "contexts").mkdir()
    (directory / "contexts/__init__.py").write_text("")
    for name in {*catalog.names(), "batching.py", "kernel.py", "mail.py", "mail_settings.py", "sagas.py"} - {
        Path(EXAMPLE).name
    }:
        (directory / "contexts" / name).symlink_to(ROOT / "contexts" / name)
    example = directory / EXAMPLE
    example.mkdir()
    for name, text in zip(MODULES, DOCS["add-a-context"].blocks("python"), strict=True):
        (example / f"{name}.py").write_text(text)
    return example


def test_the_example_is_a_context_that_fits_with_the_others(tmp_path: Path) -> None:
    write_the_example(tmp_path)
    ran = subprocess.run(
        [sys.executable, "-c", CHECK],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.stdout == "RedeemVoucher VoucherGranted VoucherRedeemed\n", ran.stderr


def test_the_example_passes_the_linter(tmp_path: Path) -> None:
    example = write_the_example(tmp_path)
    (tmp_path / "pyproject.toml").write_text((ROOT / "pyproject.toml").read_text())
    (tmp_path / "shared").symlink_to(ROOT / "shared")
    ruff = str(Path(sys.executable).with_name("ruff"))
    for how in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        ran = subprocess.run(
            [ruff, *how, str(example)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stdout
