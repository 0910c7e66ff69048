"""Seeds the randomness of every test with CHORUS_SEED, shares one server, and keeps the files of quick tests in RAM."""

import gc
import os
import random
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from shared.worker.interpreter import COLLECT_AFTER
from tests.accounts import Accounts, server_with_accounts

SEED = "CHORUS_SEED"
SHARED = ("chaos", "e2e")
"""Folders whose tests share a shop of processes."""
ALONE = (
    "test_beside_up",
    "test_broker_faults",
    "test_checker",
    "test_console",
    "test_console_in_a_browser",
    "test_random_shops",
    "test_time",
    "test_up",
)
"""Files there that start their own, or that take so long that a second shop is worth its start."""
RAM_DISK = Path("/dev/shm")
RAM_DISK_BYTES_AT_LEAST = 2 << 30


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands that a test runs write for a pipe.
    # The tests start hundreds of Python processes. Without bytecode files each of them compiles all that it imports.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    # The long tests show what holds on a disk. In the others no test should wait for the syncs of its neighbours.
    if config.option.markexpr == "not long" and "TMPDIR" not in os.environ and _has_ram_disk():
        os.environ["TMPDIR"] = tempfile.tempdir = str(RAM_DISK)
    seed = os.environ.setdefault(SEED, str(random.randrange(10**6)))
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed


def _has_ram_disk() -> bool:
    return (
        RAM_DISK.is_dir()
        and os.access(RAM_DISK, os.W_OK)
        and (shutil.disk_usage(RAM_DISK).free >= RAM_DISK_BYTES_AT_LEAST)
    )


class ShopScheduling(LoadFileScheduling):  # type: ignore[misc]
    """Keeps the tests of one file in one test process, and all files that share a shop of processes in one.

    The tests of units share next to nothing. They come last, one by one, so that all test processes end together.
    """

    def _split_scope(self, nodeid: str) -> str:
        path = PurePath(nodeid.partition("::")[0])
        if path.parts[:2] == ("tests", "unit"):
            return nodeid
        shares = path.parent.name in SHARED and path.stem not in ALONE
        return path.parent.name if shares else str(path)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Collect no garbage meanwhile, and leave what there is then, all modules and tests, out of later collections."""
    gc.disable()
    try:
        _import_a_share(session.config)
        return (yield)
    finally:
        gc.enable()
        gc.freeze()
        gc.set_threshold(*COLLECT_AFTER)  # As in a worker. With Python's own, it took a seventh of the tests' time.


def _import_a_share(config: pytest.Config) -> None:
    """Import some of the modules of the tests in each test process, before each of them collects all.

    pytest rewrites a module that has changed when it is imported, which takes longer than the rest of the collection.
    Test processes that collect side by side in a new clone would rewrite every module several times.
    """
    worker = getattr(config, "workerinput", None)
    if worker is None:
        return
    directories = [path for path in map(Path, config.args) if path.is_dir()]
    files = sorted({file.absolute() for directory in directories for file in directory.rglob("test_*.py")})
    for file in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        with suppress(Exception, pytest.skip.Exception):  # The collection reports it.
            import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ShopScheduling | None:
    """Replace `--dist loadfile`."""
    return ShopScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


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
