"""Ends a process when its parent ends, however that ends: `python leash.py PARENT COMMAND …` becomes the command.

A supervisor that is killed with -9 cannot stop anybody any more, so the kernel must do it (`PR_SET_PDEATHSIG`, which
survives exec). It is asked for here, after the fork and before the command, because Python code between fork and exec
of a process with threads may hang. Only Linux has it: elsewhere the command runs without a leash.
"""

import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1


def ending_with_parent(command: Sequence[str]) -> list[str]:
    """The command that runs `command` until the thread that starts it ends: let that be the main one."""
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-IS", __file__, str(os.getpid()), *command]


def _become(parent: int, command: list[str]) -> None:
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent has ended already")
    os.execvp(command[0], command)  # noqa: S606 - it is the supervisor's own command line


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
