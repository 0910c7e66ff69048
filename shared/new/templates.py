"""Reads and renders the templates: each `.tmpl` file under `templates/` becomes one file, with `$words` filled in.

The suffix keeps linters and import systems from taking a template for a module.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from string import Template
from typing import Final

FOLDER: Final = Path(__file__).parent / "templates"
SUFFIX: Final = ".tmpl"


def render(kind: str, words: Mapping[str, str]) -> dict[PurePosixPath, str]:
    """Return the text of every file of a kind of template, by its path; raises KeyError for a word that is missing."""
    folder = FOLDER / kind
    return {
        PurePosixPath(file.relative_to(folder).with_suffix("").as_posix()): Template(file.read_text()).substitute(words)
        for file in sorted(folder.rglob(f"*{SUFFIX}"))
    }
