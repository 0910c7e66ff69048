"""The seeds behind the JWTs, in `trust.json` beside the keys: whoever holds them can make any user."""

import time
from pathlib import Path
from typing import Final

import msgspec

from shared.access.jwt import Trust, new_trust
from shared.access.keys import SeedError
from shared.config.atomic_file import write_file

TRUST_FILE: Final = "trust.json"
PRIVATE: Final = 0o600


def read_trust(directory: Path) -> Trust | None:
    """The seeds of the operator and the accounts; None before the first export. Raises SeedError."""
    file = directory / TRUST_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Trust)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise SeedError(f"{file} cannot be read: {type(error).__name__}; move it away to make new seeds") from None


def ensure_trust(directory: Path) -> Trust:
    """The seeds, which are made at the first time; raises SeedError."""
    trust = read_trust(directory)
    if trust is None:
        trust = new_trust(int(time.time()))
        write_file(directory / TRUST_FILE, msgspec.json.encode(trust).decode(), mode=PRIVATE)
    return trust
