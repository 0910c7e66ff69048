"""Failpoints: named points at which a test kills the process, to show that nothing is lost or done twice there."""

import os
import signal
from typing import Final, Literal

Failpoint = Literal[
    "after-take",
    "after-load",
    "inside-transaction",
    "after-commit",
    "before-publish",
    "after-ack",
    "before-call",
    "after-call",
]

_armed: Final[dict[str, int]] = {}


def arm(description: str) -> None:
    """Arm `name` or `name:n`: SIGKILL ends the process when it reaches the failpoint for the n-th time."""
    name, _, nth = description.partition(":")
    _armed[name] = int(nth or "1")


def reach(name: Failpoint) -> None:
    """Die here if a test has armed this failpoint."""
    if not _armed or name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
