"""Writes the users for other tools: `.creds` files with JWTs, and contexts of the nats CLI (ADR-21)."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from shared.access.directory import (
    PUBLIC,
    RESOLVER_FILE,
    alone_with_keys,
    files_of,
    revocations,
    seed_file,
)
from shared.access.jwt import resolver_file, user_creds
from shared.access.keys import SeedError, public_key, read_public_key
from shared.access.rights import User
from shared.access.roles import ROLES
from shared.access.trust import PRIVATE, ensure_trust
from shared.config.atomic_file import write_file

CONTEXT_PREFIX: Final = "chorus-"


def write_jwts(directory: Path, users: Sequence[User], *, valid_for: timedelta | None = None) -> list[Path]:
    """Write resolver.conf for the server, and `USER.creds` for each user, valid for ever unless `valid_for` is given.

    The seeds of the operator and the account are kept in trust.json, so that a later export signs with the same. From
    then on `apply` writes resolver.conf too, which revokes the keys that it retires.

    Raises:
        SeedError: a user has no seed here, or a file holds none.
        DirectoryError: a file cannot be written.
    """
    seeds = {user.name: _seed(seed_file(directory, user.name)) for user in users}
    with alone_with_keys(directory):
        trust, revoked = ensure_trust(directory), revocations(directory)
        now = int(time.time())
        until = None if valid_for is None else now + int(valid_for.total_seconds())
        written = [directory / RESOLVER_FILE]
        write_file(written[0], resolver_file(trust, revoked), mode=PUBLIC)
        for user in users:
            written.append(directory / f"{user.name}.creds")
            seed = seeds[user.name]
            at = max(now, revoked.get(public_key(seed), 0) + 1)  # The key of a context that has come back.
            write_file(written[-1], user_creds(trust, user, seed, at, until), mode=PRIVATE)
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
