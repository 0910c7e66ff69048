"""A server that knows the users of the shop, for the whole run where CHORUS_SECURE=1 is set, or for one test.

Workers, commands and the `nats` command then connect as the users whose rights they need. So do the tests: they send as
a producer, read as a tester, and change streams as an operator. A user of their own, who may do everything, forges.
"""

import os
from pathlib import Path
from typing import Any, Final

from shared.access.directory import apply, public_keys, seed_file
from shared.access.of_system import users_of
from shared.access.rights import User
from shared.access.server import authorization
from shared.config.connection import INBOX, ConnectionOptions
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


def login_of(user: str, access: Path) -> dict[str, Any]:
    """The login of a user in the words of nats-py; none where there is no seed of it."""
    seed = seed_file(access, user)
    return {"nkeys_seed": str(seed), "inbox_prefix": f"{INBOX}{user}"} if seed.exists() else {}
