"""The directory of the keys: a seed file for each user, their public keys, and the server's files.

`chorus access apply` writes it. A process reads its own seed from it. The server gets `rights.conf` and `users.conf`,
or `resolver.conf` once JWTs were exported. The list of public keys in `keys.json` outlives the seeds, which may move to
the machines of their users. `revoked.json` holds the keys that ended: the account revokes the JWTs of them.
"""

import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from shared.access.jwt import resolver_file
from shared.access.keys import new_seed, public_key, read_public_key
from shared.access.rights import User
from shared.access.server import rights_file, users_file
from shared.access.trust import PRIVATE, read_trust
from shared.config.atomic_file import alone_in, write_file

RIGHTS_FILE: Final = "rights.conf"
USERS_FILE: Final = "users.conf"
RESOLVER_FILE: Final = "resolver.conf"
KEYS_FILE: Final = "keys.json"
REVOKED_FILE: Final = "revoked.json"
SEED_SUFFIX: Final = ".nk"
PUBLIC: Final = 0o644
"""The mode of the server's files: the server runs as another user."""

PublicKey: TypeAlias = Annotated[str, Meta(pattern=r"^U[A-Z2-7]{55}\Z")]

T = TypeVar("T")


class DirectoryError(ValueError):
    """The directory of the keys cannot be read or written; the text names the file."""


Action = Literal["create", "rotate", "retire", "remove", "protect", "write"]


class Change(Struct, frozen=True, kw_only=True):
    """A change to the directory: to a user's keys, or to a file for the server."""

    action: Action
    name: str
    text: str


def seed_file(directory: Path, user: str) -> Path:
    """The file with the seed of a user."""
    return directory / f"{user}{SEED_SUFFIX}"


def public_keys(directory: Path) -> Mapping[str, tuple[str, ...]]:
    """The public keys of each user, the newest first; raises DirectoryError when the list cannot be read."""
    return _read(directory / KEYS_FILE, dict[str, tuple[PublicKey, ...]])


def revocations(directory: Path) -> Mapping[str, int]:
    """The public keys that were retired or removed, and when, in seconds since 1970; raises DirectoryError."""
    return _read(directory / REVOKED_FILE, dict[PublicKey, int])


def _read(file: Path, kind: Callable[[], T]) -> T:
    try:
        found: T = msgspec.json.decode(file.read_bytes(), type=kind)
    except FileNotFoundError:
        return kind()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise DirectoryError(f"{file} cannot be read: {error}") from error
    return found


def plan(
    directory: Path, users: Sequence[User], *, rotate: Collection[str] = (), retire: Collection[str] = ()
) -> tuple[Change, ...]:
    """The changes that `apply` would make; raises DirectoryError, or SeedError."""
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
    changes += [
        Change(action="protect", name=user.name, text="others may read its seed; consider a rotation")
        for user in users
        if _is_open_to_others(seed_file(directory, user.name))
    ]
    kept = {name: keys for name, keys in known.items() if name in wanted}
    actions = {*planned.values()}
    outdated = {USERS_FILE: bool(actions), RESOLVER_FILE: bool(actions & {"retire", "remove"})}
    for name, text in _server_files(directory, users, kept, revocations(directory)):
        if _text(directory / name) != text or outdated.get(name):
            changes.append(Change(action="write", name=name, text="for the server; then reload it"))
    return tuple(changes)


def apply(
    directory: Path, users: Sequence[User], *, rotate: Collection[str] = (), retire: Collection[str] = ()
) -> tuple[Change, ...]:
    """Make the missing seeds and write the files; returns the changes. Two at once change one after the other.

    Raises:
        SeedError: a file holds no seed.
        DirectoryError: the list of keys cannot be read, or a file cannot be written.
    """
    with alone_with_keys(directory):
        changes = plan(directory, users, rotate=rotate, retire=retire)
        _carry_out(changes, directory, users)
    return changes


@contextmanager
def alone_with_keys(directory: Path) -> Iterator[None]:
    """Make the directory, and wait until no other process changes its keys; raises DirectoryError."""
    with files_of(directory):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone_in(directory):
            yield


@contextmanager
def files_of(directory: Path) -> Iterator[None]:
    """Turn an error of a file within the block into a DirectoryError."""
    try:
        yield
    except OSError as error:
        where = error.filename2 or error.filename or directory
        problem = f"{where} cannot be used: {error.strerror}"
        raise DirectoryError(f"{problem}; choose another directory, or run this as its owner") from error


def _carry_out(changes: Sequence[Change], directory: Path, users: Sequence[User]) -> None:
    keys = dict(public_keys(directory))
    before = {key for listed in keys.values() for key in listed}
    for change in changes:
        file = seed_file(directory, change.name)
        match change.action:
            case "create" if file.exists():  # The list was lost, or an operator brought the seed.
                keys[change.name] = (read_public_key(file),)
            case "create":  # The seed first: after a crash, the next `apply` lists its key.
                seed = new_seed()
                _write_seed(file, seed)
                keys[change.name] = (public_key(seed),)
            case "rotate":  # The list first: after a crash, the former seed is still there and listed.
                seed = new_seed()
                keys[change.name] = (public_key(seed), *keys[change.name])
                _write_list(directory, keys)
                _write_seed(file, seed)
            case "retire":
                keys[change.name] = (_kept(keys[change.name], file),)
            case "remove":
                del keys[change.name]  # Its seed stays: the server does not know it, and the context may come back.
            case "protect":
                file.chmod(PRIVATE)
            case "write":
                pass
    revoked = dict(revocations(directory))
    now = int(time.time())
    ended = before - {key for listed in keys.values() for key in listed}
    if ended:  # Before the list: after a crash, the next `apply` still finds them there.
        revoked.update(dict.fromkeys(sorted(ended), now))
        write_file(directory / REVOKED_FILE, json.dumps(revoked, indent=2) + "\n", mode=PUBLIC)
    _write_list(directory, keys)
    for name, text in _server_files(directory, users, keys, revoked):
        write_file(directory / name, text, mode=PUBLIC)


def _server_files(
    directory: Path, users: Sequence[User], keys: Mapping[str, Sequence[str]], revoked: Mapping[str, int]
) -> Iterator[tuple[str, str]]:
    """The files for the server, by name."""
    yield RIGHTS_FILE, rights_file(users)
    yield USERS_FILE, users_file(users, keys)
    if (trust := read_trust(directory)) is not None:
        yield RESOLVER_FILE, resolver_file(trust, revoked)


def _kept(keys: Sequence[str], file: Path) -> str:
    """The key of the seed that is here, or the newest when the seed has moved to the machine of its user.

    The newest may have no seed: a crash can end a rotation between the list and the seed.
    """
    own = read_public_key(file) if file.exists() else keys[0]
    return own if own in keys else keys[0]


def _is_open_to_others(seed: Path) -> bool:
    try:
        return bool(seed.stat().st_mode & 0o077)
    except OSError:
        return False


def _text(file: Path) -> str | None:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return None


def _write_list(directory: Path, keys: Mapping[str, Sequence[str]]) -> None:
    write_file(directory / KEYS_FILE, json.dumps(keys, indent=2) + "\n", mode=PUBLIC)


def _write_seed(file: Path, seed: str) -> None:
    write_file(file, f"{seed}\n", mode=PRIVATE)
