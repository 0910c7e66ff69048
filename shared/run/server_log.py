"""The log of a server of our own, in its directory; the log of the previous run is kept next to it."""

from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

LOG = "nats-server.log"
LAST_LOG = "nats-server.log.1"
LINES_SHOWN = 5


def new_log(directory: Path) -> BinaryIO:
    """Open an empty log for a server that starts; rename the older log to LAST_LOG."""
    with suppress(FileNotFoundError):
        (directory / LOG).replace(directory / LAST_LOG)
    return (directory / LOG).open("wb")


def last_errors(directory: Path) -> list[str]:
    """The last warnings and errors in the log, or its last lines when there are none."""
    lines = (directory / LOG).read_text(errors="replace").splitlines()
    return ([line for line in lines if "[INF]" not in line] or lines)[-LINES_SHOWN:] or ["its log is empty"]
