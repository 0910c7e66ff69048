"""Seeds the randomness of every test with CHORUS_SEED, or prints a new seed at the end; and shares one server."""

import os
import random
from collections.abc import Iterator

import pytest

from tests.accounts import Accounts, server_with_accounts

SEED = "CHORUS_SEED"
GROUPS = {"open_shop": "shop", "hasty_shop": "shop", "open_stage": "stage"}
"""Fixtures that start many processes, each with the group of tests that share them in one test process."""


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands that a test runs write for a pipe.
    seed = os.environ.setdefault(SEED, str(random.randrange(10**6)))
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed


def pytest_itemcollected(item: pytest.Item) -> None:
    """Keep the tests of one file in one process, and all tests that share a shop of processes in another."""
    if item.config.pluginmanager.hasplugin("xdist"):
        groups = [GROUPS[name] for name in getattr(item, "fixturenames", ()) if name in GROUPS]
        item.add_marker(pytest.mark.xdist_group(groups[0] if groups else item.path.stem))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{SEED}={os.environ[SEED]}")


@pytest.fixture(scope="session")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Accounts]:
    """The server that the tests of this process share."""
    with server_with_accounts(tmp_path_factory.mktemp("nats")) as accounts:
        yield accounts


@pytest.fixture
def account_url(accounts: Accounts) -> str:
    """The URL of a server that is empty, as far as this test can see."""
    return accounts.next_url()
