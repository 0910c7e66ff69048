"""The system that `chorus new system` makes, written into a directory: as it is, or as `travel.contexts`."""

import os
import re
import subprocess
import sys
from pathlib import Path

from shared.new.source import Source
from shared.new.system import write_system

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


def chorus(
    cwd: Path, *words: str, program: tuple[str, ...] = (SCRIPT,), within_s: float = 60, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed `chorus` in a directory; it has the shop installed beside it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHORUS_", "NATS_", "PYTHONP"))}
    return subprocess.run(
        [*program, *words],
        env={**kept, "COLUMNS": "200", "XDG_CONFIG_HOME": "nowhere", **environ},
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=within_s,
        check=False,
    )
