"""Signs and checks webhooks: HMAC-SHA-256 over the time and the body, compared in constant time. Pure."""

import hashlib
import hmac
import re
from collections.abc import Sequence
from typing import Final

REPLAY_WINDOW_S: Final = 300
"""A signed message is refused when it is older, or as far ahead of our clock."""
HEADER: Final = "Signature"

_SIGNATURE = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")


class BadSignatureError(ValueError):
    """The message is not from the sender, or it was sent too long ago."""


def sign(secret: str, body: bytes, at: int) -> str:
    """The header of a message that is sent at this time, in seconds since 1970."""
    return f"t={at},v1={_mac(secret, body, at)}"


def check_signature(secrets: Sequence[str], header: str, body: bytes, now: float) -> None:
    """Raise BadSignatureError unless one of the secrets has signed the body within the window.

    While a secret is exchanged there are two.
    """
    found = _SIGNATURE.fullmatch(header)
    if found is None:
        raise BadSignatureError(f"the header {HEADER} must be t=<seconds>,v1=<64 hex digits>")
    at = int(found[1])
    matches = [hmac.compare_digest(_mac(secret, body, at), found[2]) for secret in secrets]
    if not any(matches):
        raise BadSignatureError("the signature does not fit the body")
    if abs(now - at) > REPLAY_WINDOW_S:
        raise BadSignatureError(f"it was signed more than {REPLAY_WINDOW_S} s ago, or ahead of time")


def _mac(secret: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), b"%d.%s" % (at, body), hashlib.sha256).hexdigest()
