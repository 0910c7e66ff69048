"""Failpoints: named places at which a test kills the process, to show that nothing is lost or done twice there."""

import os
import signal
from typing import Final, Literal

Place = Literal[
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
    """Arm `place` or `place:n`: SIGKILL ends the process when it reaches the place for the n-th time."""
    place, _, nth = description.partition(":")
    _armed[place] = int(nth or "1")


def reach(place: Place) -> None:
    """Die here if a test has armed this place."""
    if not _armed or place not in _armed:
        return
    _armed[place] -= 1
    if _armed[place] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
