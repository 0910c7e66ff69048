"""Makes the kernel kill a child when its parent ends: `die_with_parent.py PARENT COMMAND …` becomes the command.

A supervisor that SIGKILL ends cannot stop its children, so the kernel must (`PR_SET_PDEATHSIG`, which survives exec).
This module asks for it after the fork and before the command, because Python code between fork and exec may hang in a
process with threads. Only Linux has the call; elsewhere the child outlives its parent.
"""

import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def die_with_parent(command: Sequence[str]) -> list[str]:
    """The command line that runs `command` until the thread that starts it ends; start it from the main thread."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent process has ended already")
    os.execvp(command[0], command)  # noqa: S606 - it is the supervisor's own command line


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
