"""Signs the rights as JWTs of NATS, for servers whose users come from a resolver: an operator, an account, its users.

A JWT is signed with the nkey of its issuer (ADR-14): header and claims in base64url, the algorithm `ed25519-nkey`.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from shared.access.keys import new_seed, public_key, sign
from shared.access.rights import RESPONSES_AT_MOST, Rights, User

RESPONSE_WITHIN_NS: Final = 60 * 10**9
NO_LIMIT: Final = -1
CONTROL_LINE_BYTES: Final = 65_536
"""A client sends its JWT in one protocol line; 4 KiB, the server's default, are too short for a context's rights."""
NAME: Final = "chorus"


_USER_JWT: Final = re.compile(r"BEGIN NATS USER JWT-+\s+[\w-]+\.([\w-]+)\.[\w-]+\s", re.ASCII)


class _Allowed(Struct, frozen=True):
    allow: tuple[str, ...] = ()


class _UserRights(Struct, frozen=True):
    sub: _Allowed = _Allowed()


class _UserJwt(Struct, frozen=True):
    """The claims of a user's JWT that are read again."""

    name: str = ""
    nats: _UserRights = _UserRights()


class Trust(Struct, frozen=True, kw_only=True):
    """The seeds of an operator, of the account whose users they are, and of the account that every server needs.

    The server gets the JWTs only. `made_at` is in seconds since 1970.
    """

    operator: str
    account: str
    system: str
    made_at: int = 0


def new_trust(at: int) -> Trust:
    """New random seeds, made at a time in seconds since 1970."""
    return Trust(operator=new_seed("operator"), account=new_seed("account"), system=new_seed("account"), made_at=at)


def operator_jwt(trust: Trust) -> str:
    """The JWT of the operator, which signs itself."""
    return _signed(trust.operator, trust.operator, NAME, {"type": "operator", "version": 2}, trust.made_at)


def account_jwt(trust: Trust, revoked: Mapping[str, int]) -> str:
    """The JWT of the account of all users, with JetStream and without limits.

    The server refuses each user whose JWT was issued at the time in `revoked` or before, by public key.
    """
    stored = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), NO_LIMIT)
    at = max((trust.made_at, *revoked.values()))
    return _account(trust, trust.account, NAME, stored, at, {"revocations": revoked} if revoked else {})


def system_jwt(trust: Trust) -> str:
    """The JWT of the account in which the server does its own work; no user is in it."""
    return _account(trust, trust.system, "SYS", {}, trust.made_at, {})


def user_creds(trust: Trust, user: User, seed: str, at: int, until: int | None) -> str:
    """The text of a `.creds` file: the JWT of a user, issued at a time, valid until one if given, and its seed."""
    jwt = _signed(trust.account, seed, user.name, _user_claims(user.rights), at, until)
    return (
        f"-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


def user_in_creds(text: str) -> str | None:
    """The user of a `.creds` file that `user_creds` made; None for any other text."""
    found = _USER_JWT.search(text)
    if found is None:
        return None
    try:
        payload = base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4))
        claims = msgspec.json.decode(payload, type=_UserJwt)
    except (ValueError, msgspec.DecodeError):
        return None
    own_inboxes = f"{User(name=claims.name, purpose='', rights=Rights()).inbox_prefix}.>"
    return claims.name if own_inboxes in claims.nats.sub.allow else None


def resolver_file(trust: Trust, revoked: Mapping[str, int]) -> str:
    """Configuration of a server that trusts this operator and holds this account in memory.

    The same arguments give the same text, so that a change can be told.
    """
    account, system = public_key(trust.account), public_key(trust.system)
    return (
        f"max_control_line: {CONTROL_LINE_BYTES}\n"
        f"operator: {operator_jwt(trust)}\n"
        f"system_account: {system}\n"
        "resolver: MEMORY\n"
        f"resolver_preload: {{\n  {account}: {account_jwt(trust, revoked)}\n  {system}: {system_jwt(trust)}\n}}\n"
    )


def _account(
    trust: Trust, seed: str, name: str, stored: Mapping[str, int], at: int, more: Mapping[str, Mapping[str, int]]
) -> str:
    unlimited = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), NO_LIMIT)
    limits = {**unlimited, "wildcards": True, **stored}
    nats = {"limits": limits, "default_permissions": {"pub": {}, "sub": {}}, "type": "account", "version": 2, **more}
    return _signed(trust.operator, seed, name, nats, at)


def _user_claims(rights: Rights) -> dict[str, Any]:
    publish: dict[str, Sequence[str]] = {"allow": rights.publish} if rights.publish else {"deny": [">"]}
    if rights.never:
        publish["deny"] = rights.never
    claims: dict[str, Any] = {"pub": publish, "sub": {"allow": rights.subscribe}}
    if rights.answers:
        claims["resp"] = {"max": RESPONSES_AT_MOST, "ttl": RESPONSE_WITHIN_NS}
    unlimited = dict.fromkeys(("subs", "data", "payload"), NO_LIMIT)
    return {**claims, **unlimited, "type": "user", "version": 2}


def _signed(issuer: str, subject: str, name: str, nats: Mapping[str, Any], at: int, until: int | None = None) -> str:
    claims = {"iat": at, "iss": public_key(issuer), "name": name, "sub": public_key(subject), "nats": nats}
    if until is not None:
        claims["exp"] = until
    identity = hashlib.sha256(json.dumps(claims, sort_keys=True).encode()).digest()
    claims["jti"] = base64.b32encode(identity).rstrip(b"=").decode()
    signed = f"{_encoded({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_encoded(claims)}"
    return f"{signed}.{_base64url(sign(issuer, signed.encode()))}"


def _encoded(part: Mapping[str, Any]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()
