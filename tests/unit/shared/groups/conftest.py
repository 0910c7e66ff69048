"""A database of a group that forwards, for each test that asks for one."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.unit.shared.groups.endpoints import Books


@pytest.fixture
def books() -> Iterator[Books]:
    made = Books()
    with closing(made.connection):
        yield made
