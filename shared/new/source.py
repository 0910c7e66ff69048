"""Tells from where a new system can install Chorus: from the place from which the running one was installed.

Installers record that place in `direct_url.json` (PEP 610), unless it was a registry.
"""

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import url2pathname


class Source(NamedTuple):
    """A requirement for `[project] dependencies`, and the value for `[tool.uv.sources]`, empty for a registry."""

    requirement: str
    location: str


def installed_source() -> Source:
    """Return the source of the running Chorus."""
    try:
        chorus = distribution("chorus")
    except PackageNotFoundError:  # It runs from its repository, by PYTHONPATH.
        return Source("chorus[server]", _table(path=str(Path(__file__).parents[2]), editable=True))
    return source_of(chorus.version, chorus.read_text("direct_url.json"))


def source_of(version: str, direct_url: str | None) -> Source:
    """Return the source that an installer recorded; without a record it was a registry, and the version is pinned."""
    recorded: dict[str, Any] = json.loads(direct_url) if direct_url else {}
    url = recorded.get("url", "")
    match recorded:
        case {"vcs_info": {"vcs": "git", "commit_id": commit}}:
            below = {"subdirectory": recorded["subdirectory"]} if "subdirectory" in recorded else {}
            location = _table(git=url, rev=commit, **below)
        case {"dir_info": directory} if url.startswith("file:"):
            editable = {"editable": True} if directory.get("editable") else {}
            location = _table(path=_path(url), **editable)
        case {"archive_info": _}:
            location = _table(path=_path(url)) if url.startswith("file:") else _table(url=url)
        case _:
            return Source(f"chorus[server]=={version}", "")
    return Source("chorus[server]", location)


def _path(url: str) -> str:
    return url2pathname(urlsplit(url).path)


def _table(**values: str | bool) -> str:
    """Spell an inline table of TOML, whose strings and booleans are those of JSON."""
    inner = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items())
    return f"{{ {inner} }}"
