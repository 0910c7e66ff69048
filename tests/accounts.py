"""One server for many tests, each in an account of its own: its streams and subjects are invisible to the others.

A test that kills, configures or watches a server starts one itself, with `local_server`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from anyio.from_thread import start_blocking_portal

from shared.run.server import local_server

ACCOUNTS = 800
"""More than one test process uses."""
PASSWORD = "secret"


class Accounts:
    """A running server whose accounts are used once each."""

    def __init__(self, server_url: str) -> None:
        self._server_url = server_url
        self._numbers = count()

    def next_url(self) -> str:
        """The URL of an empty account, with its user and password."""
        number = next(self._numbers)
        assert number < ACCOUNTS, "raise ACCOUNTS"
        return self._server_url.replace("//", f"//user-{number}:{PASSWORD}@")


@contextmanager
def server_with_accounts(directory: Path) -> Iterator[Accounts]:
    """A server for as long as the block runs; it is kept by a thread, so tests in any event loop can use it."""
    accounts = {
        f"account-{number}": {
            "jetstream": "enabled",
            "users": [{"user": f"user-{number}", "password": PASSWORD}],
        }
        for number in range(ACCOUNTS)
    }
    server = local_server(directory, max_file_store=ACCOUNTS * 2**35, more={"accounts": accounts})
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(server) as running:
        yield Accounts(running.url)
        portal.call(running.kill)  # Its files are of no use to anybody, so it need not close them.
