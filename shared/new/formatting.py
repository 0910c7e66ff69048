"""Formats new modules where ruff is installed: long names need lines to be wrapped."""

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def format_modules(files: Iterable[Path], directory: Path) -> None:
    """Sort the imports of modules and wrap their lines as ruff's configuration of this directory says."""
    ruff = Path(sys.executable).with_name("ruff")
    modules = [str(file) for file in files if file.suffix == ".py"]
    if not ruff.is_file():
        return
    for command in (["check", "--select=I", "--fix", "--quiet"], ["format", "--quiet"]):
        subprocess.run(  # noqa: S603 - the linter beside our interpreter
            [ruff, *command, "--no-cache", *modules], cwd=directory, capture_output=True, check=False
        )
