"""How long a test waits for a fact, and how it waits for one that nobody announces."""

from collections.abc import Awaitable, Callable

import anyio

WITHIN_S = 60.0
"""Many times what a fact takes on a quiet machine: a deadline ends a test that has failed, and decides no other."""
POLL_S = 0.01


async def until(true: Callable[[], object], what: str = "the condition") -> None:
    """Wait until something is true of a file, a database or an object that tells nobody when it changes."""
    with anyio.move_on_after(WITHIN_S):
        while not true():  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(POLL_S)
        return
    raise AssertionError(f"not so within {WITHIN_S:g} s: {what}")


async def until_answer(is_so: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is true that takes a request to check."""
    with anyio.fail_after(WITHIN_S):
        while not await is_so():  # noqa: ASYNC110 - nobody tells
            await anyio.sleep(POLL_S)
