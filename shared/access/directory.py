"""The directory of the keys: a seed file for each user, their public keys, and the server's two files.

`chorus access apply` writes it. A process reads its own seed from it; the server gets `rights.conf` and `users.conf`.
The list of public keys in `keys.json` outlives the seeds, which may be moved to the machines of their users.
"""

import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

from msgspec import Struct

from shared.access.keys import SeedError, new_seed, public_key, read_public_key, write_seed
from shared.access.rights import User
from shared.access.server import rights_file, users_file

RIGHTS_FILE: Final = "rights.conf"
USERS_FILE: Final = "users.conf"
KEYS_FILE: Final = "keys.json"
SEED_SUFFIX: Final = ".nk"

Action = Literal["create", "rotate", "retire", "remove", "write"]


class Change(Struct, frozen=True, kw_only=True):
    """A change to the directory: to a user's keys, or to a file for the server."""

    action: Action
    name: str
    text: str


def seed_file(directory: Path, user: str) -> Path:
    """The file with the seed of a user."""
    return directory / f"{user}{SEED_SUFFIX}"


def public_keys(directory: Path) -> Mapping[str, tuple[str, ...]]:
    """The public keys of each user, the newest first; raises SeedError when the list cannot be read."""
    file = directory / KEYS_FILE
    try:
        listed = json.loads(file.read_text())
        return {str(user): tuple(str(key) for key in keys) for user, keys in listed.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise SeedError(f"{file} cannot be read: {error}") from error


def plan(
    directory: Path, users: Sequence[User], *, rotate: Collection[str] = (), retire: Collection[str] = ()
) -> tuple[Change, ...]:
    """The changes that `apply` would make."""
    known = public_keys(directory)
    changes = []
    for user in users:
        keys = known.get(user.name, ())
        if not keys:
            changes.append(Change(action="create", name=user.name, text=user.purpose))
        elif user.name in rotate:
            changes.append(Change(action="rotate", name=user.name, text="a new key beside the former ones"))
        elif user.name in retire and len(keys) > 1:
            changes.append(Change(action="retire", name=user.name, text=f"the former keys, {len(keys) - 1}"))
    wanted = {user.name for user in users}
    changes += [
        Change(action="remove", name=name, text="no context and no role has this name")
        for name in known
        if name not in wanted
    ]
    planned = {change.name: change.action for change in changes}
    kept = {name: keys for name, keys in known.items() if name in wanted}
    for name, text in ((RIGHTS_FILE, rights_file(users)), (USERS_FILE, users_file(users, kept))):
        if _text(directory / name) != text or (name == USERS_FILE and planned):
            changes.append(Change(action="write", name=name, text="for the server; then reload it"))
    return tuple(changes)


def apply(
    directory: Path, users: Sequence[User], *, rotate: Collection[str] = (), retire: Collection[str] = ()
) -> tuple[Change, ...]:
    """Make the missing seeds and write the files; returns the changes.

    Raises:
        SeedError: a seed or the list of keys cannot be read.
        OSError: the directory cannot be written.
    """
    changes = plan(directory, users, rotate=rotate, retire=retire)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = dict(public_keys(directory))
    for change in changes:
        file = seed_file(directory, change.name)
        match change.action:
            case "create" if file.exists():  # The list was lost, or an operator brought the seed.
                keys[change.name] = (read_public_key(file),)
            case "create" | "rotate":
                seed = new_seed()
                keys[change.name] = (public_key(seed), *keys.get(change.name, ()))
                _write(
                    directory / KEYS_FILE, json.dumps(keys, indent=2)
                )  # Before the seed: a crash leaves no stray key.
                write_seed(file, seed)
            case "retire":
                keys[change.name] = keys[change.name][:1]
            case "remove":
                del keys[change.name]  # Its seed stays: the server does not know it, and the context may come back.
            case "write":
                pass
    _write(directory / KEYS_FILE, json.dumps(keys, indent=2))
    _write(directory / RIGHTS_FILE, rights_file(users))
    _write(directory / USERS_FILE, users_file(users, keys))
    return changes


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except OSError:
        return None


def _write(file: Path, text: str) -> None:
    """Replace a file as a whole. Everybody may read it, because the server runs as another user."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(text if text.endswith("\n") else f"{text}\n")
    os.chmod(new, 0o644)
    new.replace(file)
