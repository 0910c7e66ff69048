"""Ends this process when its loop hangs, so that its supervisor restarts it.

Docker marks a hanging container unhealthy and leaves it running; it restarts only a process that ends. The watchdog is
a thread. It cannot help a process that is stopped as a whole (SIGSTOP, a paused container), nor one whose event loop is
inside C code that never releases the interpreter.
"""

import faulthandler
import os
import sys
import threading
from typing import Final

import structlog

from shared.config.exit_codes import Exit

ENDS_AFTER_S: Final = 30.0
"""Longer than the 10 s after which a supervisor kills a silent process, so this serves processes without one."""
TICK_S: Final = 1.0
REPORT_WITHIN_S: Final = 2.0

_log = structlog.get_logger("chorus.watchdog")


class Watchdog:
    """Counts its own ticks and not the clock, so that a process that was stopped for a while does not count as hung."""

    def __init__(self, *, ends_after_s: float = ENDS_AFTER_S) -> None:
        self._ends_after_s = ends_after_s
        self._tick_s = min(TICK_S, ends_after_s / 4)
        self._came_round = threading.Event()
        self._off = threading.Event()

    def start(self) -> None:
        """Start to watch."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def feed(self) -> None:
        """Report that the loop finished a round."""
        self._came_round.set()

    def stop(self) -> None:
        """Stop watching."""
        self._off.set()

    def _watch(self) -> None:
        ticks = 0
        while not self._off.wait(self._tick_s):
            ticks = 0 if self._came_round.is_set() else ticks + 1
            self._came_round.clear()
            if ticks * self._tick_s >= self._ends_after_s:
                self._end(ticks * self._tick_s)

    def _end(self, stood_s: float) -> None:
        # The loop may hang because standard error is full. Then this write hangs too, and must not delay the end.
        report = threading.Thread(target=_report_where, args=(stood_s,), daemon=True)
        report.start()
        report.join(REPORT_WITHIN_S)
        os._exit(Exit.INTERNAL)


def _report_where(stood_s: float) -> None:
    _log.critical(
        "the loop stands still; this process ends so that its supervisor restarts it", stood_s=round(stood_s, 1)
    )
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
