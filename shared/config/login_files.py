"""Checks the files that hold a login before nats-py reads them: a wrong one makes it crash, or read for ever."""

import re
from pathlib import Path

_SEED = rb"SU[A-Z2-7]{56}"
_JWT_BLOCK = re.compile(rb"BEGIN NATS USER JWT[^\n]*\n\S+\n")
_SEED_BLOCK = re.compile(rb"BEGIN USER NKEY SEED[^\n]*\n" + _SEED + rb"\n")
_NKEY = re.compile(rb"\s*" + _SEED + rb"\s*")


class LoginFileError(ValueError):
    """The file holds no login; the text names the file and what it must hold."""


def check_credentials(file: Path) -> str:
    """Return the path; raises LoginFileError unless the file holds the JWT and the seed of a user, and OSError."""
    content = file.read_bytes()
    if not (_JWT_BLOCK.search(content) and _SEED_BLOCK.search(content)):
        raise LoginFileError(
            f"{file} is not a credentials file: it must hold a JWT below the line BEGIN NATS USER JWT and a seed below"
            " BEGIN USER NKEY SEED, with line ends of Unix, as `nsc generate creds` writes them"
        )
    return str(file)


def check_nkey(file: Path) -> str:
    """Return the path; raises LoginFileError unless the file is the seed of a user, and OSError."""
    if not _NKEY.fullmatch(file.read_bytes()):
        raise LoginFileError(f"{file} is not an nkey file: it must hold one line with a user's seed, SU…")
    return str(file)
