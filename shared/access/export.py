"""Writes the users for other tools: `.creds` files with JWTs, and contexts of the nats CLI (ADR-21)."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from shared.access.directory import PRIVATE, PUBLIC, alone_with_keys, files_of, seed_file
from shared.access.jwt import Trust, new_trust, resolver_file, user_creds
from shared.access.keys import SeedError, read_public_key
from shared.access.rights import User
from shared.access.roles import ROLES
from shared.config.atomic_file import write_file

TRUST_FILE: Final = "trust.json"
RESOLVER_FILE: Final = "resolver.conf"
CONTEXT_PREFIX: Final = "chorus-"


def write_jwts(directory: Path, users: Sequence[User], *, valid_for: timedelta | None = None) -> list[Path]:
    """Write resolver.conf for the server, and `USER.creds` for each user, valid for ever unless `valid_for` is given.

    The seeds of the operator and the account are kept in trust.json, so that a later export signs with the same.

    Raises:
        SeedError: a user has no seed here, or a file holds none.
        DirectoryError: a file cannot be written.
    """
    seeds = {user.name: _seed(seed_file(directory, user.name)) for user in users}
    with alone_with_keys(directory):
        trust = _trust(directory)
        at = int(time.time())
        until = None if valid_for is None else at + int(valid_for.total_seconds())
        written = [directory / RESOLVER_FILE]
        write_file(written[0], resolver_file(trust, at), mode=PUBLIC)
        for user in users:
            written.append(directory / f"{user.name}.creds")
            write_file(written[-1], user_creds(trust, user, seeds[user.name], at, until), mode=PRIVATE)
    return written


def write_contexts(
    directory: Path, users: Sequence[User], server: str, environ: Mapping[str, str]
) -> Iterator[tuple[str, Path]]:
    """Save a context for each role with a seed in the directory; gives its name and its file. Raises DirectoryError."""
    config = Path(environ.get("XDG_CONFIG_HOME") or Path(environ.get("HOME", "")) / ".config")
    contexts = config / "nats" / "context"
    with files_of(contexts):
        contexts.mkdir(mode=0o700, parents=True, exist_ok=True)
    for user in users:
        seed = seed_file(directory, user.name)
        if user.name in ROLES and seed.is_file():
            name = f"{CONTEXT_PREFIX}{user.name}"
            file = contexts / f"{name}.json"
            content = {
                "description": f"Chorus: {user.purpose}",
                "url": server,
                "nkey": str(seed.absolute()),
                "inbox_prefix": user.inbox_prefix,
            }
            with files_of(contexts):
                write_file(file, json.dumps(content, indent=2) + "\n", mode=PRIVATE)
            yield name, file


def _seed(file: Path) -> str:
    if not file.is_file():
        raise SeedError(f"{file} is missing; run chorus access apply")
    read_public_key(file)
    return file.read_text().strip()


def _trust(directory: Path) -> Trust:
    file = directory / TRUST_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Trust)
    except FileNotFoundError:
        trust = new_trust()
        write_file(file, msgspec.json.encode(trust).decode(), mode=PRIVATE)
        return trust
    except (OSError, msgspec.DecodeError) as error:
        raise SeedError(f"{file} cannot be read: {type(error).__name__}; move it away to make new seeds") from None
