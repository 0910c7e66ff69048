"""Connects as one user: takes its seed from the directory of the keys, unless the connection names a login itself."""

from pathlib import Path

from msgspec.structs import replace

from shared.access.directory import KEYS_FILE, SEED_SUFFIX, DirectoryError, files_of, seed_file
from shared.access.jwt import user_in_creds
from shared.config.connection import INBOX, ConnectionOptions


def login(options: ConnectionOptions, user: str, directory: Path) -> ConnectionOptions:
    """The options with the nkey and the inbox prefix of a user; unchanged where there is no seed of it.

    Raises DirectoryError when it cannot be told whether there is one.

    Options that name a seed in such a directory, or an exported `.creds` file, get the inbox prefix of its user. A
    server without users ignores both. An empty file is no seed: where the server has no users, the systemd unit still
    needs a file.
    """
    file = seed_file(directory, user)
    named = options.nkey
    if named is not None and options.inbox_prefix is None and _is_of_a_user(named):
        return replace(options, inbox_prefix=f"{INBOX}{named.stem}")
    if options.creds is not None and options.inbox_prefix is None and (holder := _holder(options.creds)):
        return replace(options, inbox_prefix=f"{INBOX}{holder}")
    if options.has_login or not _holds_something(file):
        return options
    return replace(options, nkey=file, inbox_prefix=f"{INBOX}{user}")


def _holds_something(file: Path) -> bool:
    try:
        with files_of(file.parent):
            return file.stat().st_size > 0
    except DirectoryError as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return False
        raise


def _holder(creds: Path) -> str | None:
    """The user of the file; None when it cannot be read, which the connection tells."""
    try:
        return user_in_creds(creds.read_text())
    except (OSError, UnicodeDecodeError):
        return None


def _is_of_a_user(seed: Path) -> bool:
    return seed.suffix == SEED_SUFFIX and (seed.parent / KEYS_FILE).is_file()
