"""Tunes Python for a worker: two busy threads, and thousands of objects per batch that no cycle holds."""

import gc
import sys
from typing import Final

SWITCH_INTERVAL_S: Final = 0.001
"""How long the database thread waits at most for the interpreter while the event loop is busy."""

COLLECT_AFTER: Final = (50_000, 20, 100)
"""Thresholds of the garbage collector. With Python's own, a worker spent a sixth of its time on it (measured)."""


def tune() -> None:
    """Call this before the work begins."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.set_threshold(*COLLECT_AFTER)


def keep_all() -> None:
    """Call this once all is there that lives as long as the process: the collector never searches it again."""
    gc.freeze()
