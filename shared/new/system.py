"""`chorus new system`: two contexts that run, with their saga, demo and tests, in a directory of their own."""

import re
import unicodedata
from importlib.metadata import distributions
from pathlib import Path
from typing import Final

from shared.new.changes import NewError, changes
from shared.new.rendering import render
from shared.new.source import Source, installed_source
from shared.streams.choreography import BEGIN, END

SHARED: Final = Path(__file__).parents[1]
STREAMS_FILES: Final = (SHARED.parent / "streams.yaml", SHARED / "streams.yaml")
"""The places where Chorus keeps its own streams.yaml: in the repository, or installed."""


def write_system(directory: Path, source: Source | None = None) -> list[Path]:
    """Write a system into a directory that is empty or does not exist; return its files.

    Raises:
        NewError: the directory cannot be used, and is as it was before.
    """
    _check_empty(directory)
    files = system_files(directory.resolve().name, source or installed_source())
    with changes() as made:
        try:
            for path, text in files.items():
                made.create(directory / path, text)
        except FileExistsError as error:
            raise NewError(f"{error.filename} has appeared in the meantime; name a directory of its own") from error
    return made.written


def system_files(title: str, source: Source) -> dict[str, str]:
    """Return the text of every file of a new system by its path; pyproject.toml, which claims the directory, leads."""
    words = {
        "title": title or "A system",
        "project": project_name(title),
        "requirement": source.requirement,
        "source": f"\n[tool.uv.sources]\nchorus = {source.location}\n" if source.location else "",
    }
    files = {str(path): text for path, text in render("system", words).items()}
    files[".gitignore"] = files.pop("gitignore")
    files["streams.yaml"] = f"{_streams()}{BEGIN}\n{files.pop('streams.txt')}{END}\n"
    return {"pyproject.toml": files.pop("pyproject.toml"), **files}


def project_name(title: str) -> str:
    """Return a project name made of a directory's; uv takes a package that bears the project's name for the project."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9]+", "-", plain).strip("-") or "my"
    taken = {re.sub(r"[-_.]+", "-", str(one.name)).lower() for one in distributions()}
    return f"{name}-system" if name in taken | {"chorus", "import-linter", "mypy", "my", "pytest", "ruff"} else name


def _streams() -> str:
    """Return Chorus's own streams.yaml without its choreography."""
    file = next(file for file in STREAMS_FILES if file.is_file())
    return file.read_text().partition(BEGIN)[0]


def _check_empty(directory: Path) -> None:
    shown = repr(str(directory))
    try:
        if directory.is_dir() and not any(directory.iterdir()):
            return
        if not (directory.exists() or directory.is_symlink()):
            return
    except OSError as error:
        raise NewError(f"{shown}: {error.strerror}; name another directory") from error
    why = "is not empty" if directory.is_dir() else "is no directory"
    raise NewError(f"{shown} {why}; name a new directory, or an empty one")
