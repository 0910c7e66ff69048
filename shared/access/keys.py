"""Makes and reads nkeys: Ed25519 keys whose secret half, the seed, never leaves the machine of its user.

`nkeys` is imported when it is needed: it loads a cryptographic library, which most commands do without.
"""

import os
from pathlib import Path
from typing import Final, Literal, TypeAlias

SEED_BYTES: Final = 32

Kind: TypeAlias = Literal["user", "account", "operator"]


class SeedError(ValueError):
    """A file does not hold a seed; the text names the file, and never what it holds."""


def new_seed(kind: Kind = "user") -> str:
    """A new random seed, such as `SUA…`."""
    import nkeys

    prefix = {
        "user": nkeys.PREFIX_BYTE_USER,
        "account": nkeys.PREFIX_BYTE_ACCOUNT,
        "operator": nkeys.PREFIX_BYTE_OPERATOR,
    }[kind]
    return bytes(nkeys.encode_seed(os.urandom(SEED_BYTES), prefix)).decode()


def public_key(seed: str) -> str:
    """The public key of a seed, such as `UA…`; raises SeedError."""
    import nkeys

    try:
        return bytes(nkeys.from_seed(bytearray(seed.encode())).public_key).decode()
    except Exception:  # nkeys raises what it likes, and its message may quote the seed.
        raise SeedError("not the seed of an nkey") from None


def sign(seed: str, text: bytes) -> bytes:
    """The Ed25519 signature of a text; raises SeedError."""
    import nkeys

    public_key(seed)
    return bytes(nkeys.from_seed(bytearray(seed.encode())).sign(text))


def read_public_key(file: Path) -> str:
    """The public key of the seed in a file; raises SeedError."""
    try:
        return public_key(file.read_text().strip())
    except (OSError, SeedError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it holds no seed of an nkey"
        raise SeedError(f"{file}: {reason}") from None
