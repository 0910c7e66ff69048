"""Reads and renders the templates: each `.tmpl` file under `templates/` becomes one file, with `$words` filled in.

The suffix keeps linters and import systems from taking a template for a module.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Template
from typing import Final

FOLDER: Final = Path(__file__).parent / "templates"
SUFFIX: Final = ".tmpl"
IMPORT: Final = r"^from \S+ import (?:\([^)]+\)|[^(\n]+)\n"
IMPORTS: Final = re.compile(f"(?:{IMPORT}){{2,}}", re.MULTILINE)


def render(kind: str, words: Mapping[str, str]) -> dict[PurePosixPath, str]:
    """Return the text of every file of a kind of template, by its path; raises KeyError for a word that is missing."""
    folder = FOLDER / kind
    return {
        PurePosixPath(file.relative_to(folder).with_suffix("").as_posix()): _rendered(file.read_text(), words)
        for file in sorted(folder.rglob(f"*{SUFFIX}"))
    }


def _rendered(template: str, words: Mapping[str, str]) -> str:
    """Fill in the words. Imports are sorted by module, because some modules have names that are filled in."""
    text = Template(template).substitute(words)
    text = IMPORTS.sub(_sorted, text)
    return f"{text.rstrip()}\n" if text else ""


def _sorted(block: re.Match[str]) -> str:
    imports = re.findall(IMPORT, block[0], re.MULTILINE)
    return "".join(sorted(imports, key=lambda one: str(one.split()[1])))
