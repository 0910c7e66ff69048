"""The sockets on which children report to the supervisor (sd_notify): where they are, and how one report is read."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
from anyio.abc import UNIXDatagramSocket

PATH_BYTES_AT_MOST = 107
"""Linux takes no longer path of a socket; macOS takes 103 bytes, and its temporary directories are short."""
NAME_BYTES = len("/chorus-12345678/7f0123456789")
SHORT_DIRECTORY = "/tmp"  # noqa: S108 - TemporaryDirectory makes a private directory in it.
GRACE_S = 0.1
"""When the supervisor itself was stopped, it still reads a datagram that came meanwhile within this time."""


@contextmanager
def socket_directory() -> Iterator[Path]:
    """A private directory for sockets: in the temporary directory, or in /tmp where that path would be too long."""
    fits = len(tempfile.gettempdir().encode()) + NAME_BYTES <= PATH_BYTES_AT_MOST
    with tempfile.TemporaryDirectory(prefix="chorus-", dir=None if fits else SHORT_DIRECTORY) as path:
        yield Path(path)


async def receive_report(listener: UNIXDatagramSocket, within_s: float) -> set[bytes] | None:
    """The lines of one datagram, or None when none came in time."""
    for patience_s in (within_s, GRACE_S):
        with anyio.move_on_after(patience_s):
            datagram, _ = await listener.receive()
            return set(datagram.splitlines())
    return None
