"""Decides who may look and who may act: a role has a token, a cookie that follows from it, and a form token.

The cookie and the form token are keyed hashes of the token. So the server keeps no sessions, and a cookie that leaks
tells nobody the token. Tokens are new at every start.
"""

import hashlib
import hmac
import secrets
from typing import Final, Literal, TypeAlias, get_args

Role: TypeAlias = Literal["reader", "operator"]
"""A reader looks; an operator also retries and skips what is parked."""

ROLES: Final[tuple[Role, ...]] = get_args(Role)
TOKEN_BYTES: Final = 32


class Access:
    """The tokens of one console. Every comparison takes the same time for all texts of one length."""

    def __init__(self, tokens: dict[Role, str] | None = None) -> None:
        self._tokens = tokens or {role: secrets.token_urlsafe(TOKEN_BYTES) for role in ROLES}

    def token(self, role: Role) -> str:
        """The token to print for people of this role."""
        return self._tokens[role]

    def cookie(self, role: Role) -> str:
        """The value of the cookie that a browser of this role gets."""
        return self._derived(role, "cookie")

    def form_token(self, role: Role) -> str:
        """The value that every form of a page of this role carries. Another site cannot read it."""
        return self._derived(role, "form")

    def role_of_token(self, token: str) -> Role | None:
        """The role that logs in with this token."""
        return _match(token, {role: self.token(role) for role in ROLES})

    def role_of_cookie(self, cookie: str) -> Role | None:
        """The role of a browser."""
        return _match(cookie, {role: self.cookie(role) for role in ROLES})

    def is_own_form(self, role: Role, form_token: str) -> bool:
        """Whether a form came from a page that this console gave to this role."""
        return _match(form_token, {role: self.form_token(role)}) is not None

    def _derived(self, role: Role, purpose: str) -> str:
        return hmac.new(self._tokens[role].encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _match(given: str, known: dict[Role, str]) -> Role | None:
    found = [role for role, text in known.items() if hmac.compare_digest(given.encode(), text.encode())]
    return found[0] if found else None
