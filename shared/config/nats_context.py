"""Reads the nats context that is named or selected, a file with a server and a login: ADR-21, as the nats CLI does."""

import json
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from shared.config.spelling import did_you_mean

_IN_CONTEXT_FILES = {
    "url": "server",
    **{name: name for name in ("creds", "nkey", "user", "password", "token", "cert", "key", "ca")},
    "inbox_prefix": "inbox_prefix",
}
_NOT_SUPPORTED = ("nsc", "socks_proxy", "user_jwt", "jetstream_domain", "jetstream_api_prefix")


class NatsContextError(ValueError):
    """The context does not exist, or its file cannot be used; the text names the file."""


class NatsContext(Struct, frozen=True, kw_only=True):
    """A context file; `values` has every value under the name of its flag, empty where the file has none."""

    name: str
    file: Path
    values: Mapping[str, str]


def read_context(environ: Mapping[str, str], name: str | None) -> NatsContext | None:
    """Read the context of this name, or the selected one; None when neither exists. Raises NatsContextError."""
    directory = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "")) / ".config") / "nats"
    name = name or _selected(directory)
    if not name:
        return None
    file = _context_file(directory, name)
    return NatsContext(name=name, file=file, values=_read_context(file))


def _selected(directory: Path) -> str:
    selection = directory / "context.txt"
    try:
        return selection.read_text().strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise NatsContextError(f"{selection}: {error}") from error


def _context_file(directory: Path, name: str) -> Path:
    contexts = directory / "context"
    file = contexts / f"{name}.json"
    try:
        there = file.parent == contexts and file.is_file()
    except OSError:  # No file can have this name.
        there = False
    if not there:
        known = sorted(found.stem for found in contexts.glob("*.json"))
        raise NatsContextError(f"there is no nats context {name!r}{did_you_mean(name, known)} in {contexts}")
    return file


def _read_context(file: Path) -> Mapping[str, str]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise NatsContextError(f"{file}: {error}") from error
    if not isinstance(content, dict):
        raise NatsContextError(f"{file}: not a nats context, which is a JSON object")
    for name in _NOT_SUPPORTED:
        if content.get(name):
            raise NatsContextError(f"{file}: {name} is set, which Chorus does not support; choose another nats context")
    found = {"tls_first": "yes" if content.get("tls_first") is True else ""}
    for theirs, ours in _IN_CONTEXT_FILES.items():
        value = content.get(theirs) or ""
        if not isinstance(value, str):
            raise NatsContextError(f"{file}: {theirs} must be text")
        found[ours] = value
    return found
