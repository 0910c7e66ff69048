"""The system that `chorus new system` makes, written into a directory: as it is, or as `travel.contexts`."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import anyio

from shared.new.source import Source
from shared.new.system import write_system
from tests.forking import run_chorus
from tests.waiting import WITHIN_S

SCRIPT = str(Path(sys.executable).with_name("chorus"))


def write_travel(directory: Path) -> None:
    """Write the system with its package of contexts one level down, beside its streams.yaml."""
    write_system(directory, Source("chorus[server]", ""))
    (directory / "travel").mkdir()
    (directory / "travel/__init__.py").touch()
    for name in ("contexts", "streams.yaml"):
        (directory / name).rename(directory / "travel" / name)
    for module in directory.rglob("*.py"):
        module.write_text(re.sub(r"^from contexts\.", "from travel.contexts.", module.read_text(), flags=re.MULTILINE))
    project = directory / "pyproject.toml"
    project.write_text(project.read_text().replace('contexts = "contexts"', 'contexts = "travel.contexts"'))


def chorus(cwd: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `chorus` in a directory; the shop is installed beside it."""
    ran = anyio.run(partial(run_chorus, *words, environ=environment(environ), cwd=cwd))
    return subprocess.CompletedProcess(words, *ran)


def started(cwd: Path, *command: str, within_s: float = WITHIN_S, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own in a directory."""
    return subprocess.run(
        command, env=environment(environ), capture_output=True, text=True, cwd=cwd, timeout=within_s, check=False
    )


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return this environment without any setting of ours, and with these variables."""
    unwanted = ("CHORUS_", "NATS_", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
    return {**kept, "COLUMNS": "200", "XDG_CONFIG_HOME": "nowhere", **more}
