"""The schemas as files: one for each message, and the AsyncAPI document beside them.

Everything follows from the code, byte for byte, so the files can be committed and compared.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from shared.context import Member
from shared.schemas.asyncapi import document_of
from shared.schemas.json_schema import schema_of
from shared.schemas.messages import published_messages

DIRECTORY: Final = Path("docs/schemas")
"""Where the schemas of a system are, below the directory of its package of contexts."""

ASYNCAPI: Final = "asyncapi.json"

_OURS = re.compile(r"[A-Za-z][A-Za-z0-9-]*/(events|commands|requests)/[A-Za-z0-9_.-]+\.json")


class Written(NamedTuple):
    """The paths of the files that were written, and of those that were removed."""

    written: Sequence[str]
    removed: Sequence[str]


def schemas_of(members: Iterable[Member]) -> dict[str, Any]:
    """The JSON Schema of each message, by path."""
    return {one.path: {**schema_of(one.type), "title": one.name} for one in published_messages(members)}


def files_of(members: Iterable[Member], *, title: str) -> dict[str, bytes]:
    """The content of each file, by its path."""
    declared = [*members]
    documents = {**schemas_of(declared), ASYNCAPI: document_of(declared, title=title)}
    return {path: _text(document) for path, document in sorted(documents.items())}


def committed(directory: Path) -> dict[str, bytes]:
    """The content of each file in a directory, by its path; files of others there do not count."""
    found = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*.json"))}
    return {name: path.read_bytes() for name, path in found.items() if name == ASYNCAPI or _OURS.fullmatch(name)}


def committed_schemas(directory: Path) -> dict[str, Any]:
    """The committed schema of each message, by path; raises OSError, or ValueError for a file that is no JSON."""
    found = {}
    for path, content in committed(directory).items():
        if path != ASYNCAPI:
            try:
                found[path] = json.loads(content)
            except ValueError as error:
                raise ValueError(f"{directory / path} is no JSON: {error}") from error
    return found


def write(directory: Path, files: Mapping[str, bytes]) -> Written:
    """Write the files that differ, and remove those of messages that are gone; raises OSError."""
    before = committed(directory)
    written = [path for path, content in files.items() if before.get(path) != content]
    removed = [path for path in before if path not in files]
    for path in written:
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(files[path])
    for path in removed:
        (directory / path).unlink()
    return Written(written, removed)


def _text(document: Any) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()
