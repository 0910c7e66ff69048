"""Runs each contract test twice: the real adapters in real time, their twins in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from shared.adapters.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Each asynchronous test runs once in each of these loops."""
    del item
    return {"real": asyncio.SelectorEventLoop, "virtual": VirtualLoop}
