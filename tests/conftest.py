"""Chance has a seed in every test: CHORUS_SEED, or a new one, which is told at the end of the run."""

import os
import random

import pytest

SEED = "CHORUS_SEED"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    os.environ.pop("COLUMNS", None)  # pytest-xdist sets it, and commands that a test runs write for a pipe.
    seed = os.environ.setdefault(SEED, str(random.randrange(10**6)))
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = seed


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.write_line(f"{SEED}={os.environ[SEED]}")
