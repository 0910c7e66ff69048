"""A server that knows the users of the shop, for the whole run where CHORUS_SECURE=1 is set, or for one test.

The tests themselves connect as a user of their own who may do everything: they place orders, watch and attack.
"""

import os
from pathlib import Path
from typing import Any, Final

from shared.access.directory import apply, public_keys
from shared.access.of_system import users_of
from shared.access.rights import User
from shared.access.server import authorization
from shared.config.connection import ConnectionOptions
from shared.config.secrets import Secret
from shared.config.settings import Settings

SECURE: Final = os.environ.get("CHORUS_SECURE") == "1"
"""Whether the shops of the e2e and chaos tests, and those that are measured, have users."""
USER: Final = "tests"
PASSWORD: Final = "secret"


def guard(access: Path, users: tuple[User, ...] | None = None) -> dict[str, Any]:
    """The configuration of such a server. `access` gets a seed for each user, by default for those of the shop."""
    users = users_of(Settings()) if users is None else users
    apply(access, users)
    found = authorization(users, public_keys(access))
    return {"authorization": {"users": [*found["users"], {"user": USER, "password": PASSWORD}]}}


def as_tests(url: str) -> ConnectionOptions:
    """The connection options of the tests; a server without users ignores the login."""
    return ConnectionOptions(servers=(url,), user=USER, password=Secret(PASSWORD))


def url_of_tests(url: str) -> str:
    """The URL with the login of the tests."""
    return url.replace("//", f"//{USER}:{PASSWORD}@")
