"""Does what docs/your-own-system.md says: runs its commands and writes its files, in the order of the page."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.architecture.pages import DOCS
from tests.other_system import chorus, started

PAGE = DOCS["your-own-system"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(r"`([\w/.-]+\.(?:py|md|yaml))`")
BESIDE = "chorus up"
"""The commands after it need a running server."""


class Step(NamedTuple):
    """A command with the output that the page shows, or a file with its text."""

    command: str
    shown: str
    file: str
    text: str


def steps() -> Iterator[Step]:
    """Every step of the page. A block that is no console is the file that the sentence before it names last."""
    prose = 0
    for block in BLOCK.finditer(PAGE.text):
        before, prose = PAGE.text[prose : block.start()], block.end()
        if block[1] == "console":
            for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block[2], re.MULTILINE):
                yield Step(command, shown, "", "")
        else:
            yield Step("", "", PATH.findall(before)[-1], block[2])


class Builder:
    """Follows the page below a directory; `system` is where it stands, and `ran` is what its commands said."""

    def __init__(self, directory: Path) -> None:
        self.system = directory / "chorus"
        self.system.mkdir()
        self.ran: list[tuple[Step, subprocess.CompletedProcess[str]]] = []

    def follow(self, *, tests: bool) -> None:
        """Follow the page up to where a server is needed; without `tests`, run only the checks that must fail."""
        for step in steps():
            if step.command == BESIDE:
                return
            if step.file:
                (self.system / step.file).write_text(step.text)
            elif step.command.startswith("cd "):
                self.system = (self.system / step.command.removeprefix("cd ")).resolve()
            elif step.command.startswith("rm "):
                (self.system / step.command.removeprefix("rm ")).unlink()
            elif tests or step.command != "uv run pytest" or step.shown:
                self.ran.append((step, self._run(step.command, all_tests=tests)))

    def _run(self, command: str, *, all_tests: bool) -> subprocess.CompletedProcess[str]:
        match shlex.split(command):
            case ["uv", "run", "pytest"]:
                chosen = [] if all_tests else ["tests/test_contexts.py"]
                return started(self.system, sys.executable, "-m", "pytest", *chosen, within_s=240)
            case ["chorus", "demo"]:
                return chorus(self.system, "demo", "--in-memory")
            case ["chorus", *words]:
                return chorus(self.system, *words)
            case _:
                raise AssertionError(f"{PAGE.name}: nobody knows how to run {command!r}")
