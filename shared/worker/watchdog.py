"""Ends this process when its loop stands still, so that whoever started it starts it again.

Docker marks a container unhealthy and does nothing more about it; only a process that ends is started again. The
watchdog is a thread. It cannot help a process that is stopped as a whole (SIGSTOP, a paused container), nor one whose
event loop is inside C code that never gives the interpreter back.
"""

import faulthandler
import os
import sys
import threading
from typing import Final

import structlog

from shared.config.exit_codes import Exit

ENDS_AFTER_S: Final = 30.0
"""Longer than a supervisor waits that kills what is silent (10 s), so that this is for whoever has none."""
TICK_S: Final = 1.0
LAST_WORDS_WITHIN_S: Final = 2.0

_log = structlog.get_logger("chorus.watchdog")


class Watchdog:
    """Counts its own ticks, not the clock: a process that was stopped and continues is not taken for one that hangs."""

    def __init__(self, *, ends_after_s: float = ENDS_AFTER_S) -> None:
        self._ends_after_s = ends_after_s
        self._tick_s = min(TICK_S, ends_after_s / 4)
        self._came_round = threading.Event()
        self._off = threading.Event()

    def start(self) -> None:
        """Watch from now on."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def feed(self) -> None:
        """The loop came round."""
        self._came_round.set()

    def stop(self) -> None:
        """Watch no longer."""
        self._off.set()

    def _watch(self) -> None:
        ticks = 0
        while not self._off.wait(self._tick_s):
            ticks = 0 if self._came_round.is_set() else ticks + 1
            self._came_round.clear()
            if ticks * self._tick_s >= self._ends_after_s:
                self._end(ticks * self._tick_s)

    def _end(self, stood_s: float) -> None:
        # The loop may hang because nobody reads standard error: then these words wait too, and the end must not.
        words = threading.Thread(target=_say_where, args=(stood_s,), daemon=True)
        words.start()
        words.join(LAST_WORDS_WITHIN_S)
        os._exit(Exit.INTERNAL)


def _say_where(stood_s: float) -> None:
    _log.critical("the loop stands still; this process ends, to be started again", stood_s=round(stood_s, 1))
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
