"""The event loops of the contract suites: real time for the real adapters, virtual time for their twins."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from shared.adapters.virtual_time import VirtualLoop


def pytest_asyncio_loop_factories(item: pytest.Item) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """A test that waits runs once in each of these loops."""
    del item
    return {"real": asyncio.SelectorEventLoop, "virtual": VirtualLoop}
