"""The sockets on which children report to the supervisor (sd_notify): where they are, and how one report is read.

We read the socket ourselves. The `receive` of anyio 4.16 prints an InvalidStateError when it is cancelled in the moment
in which a datagram arrives, as happens while a system stops.
"""

import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio

PATH_BYTES_AT_MOST = 107
"""Linux takes no longer path of a socket; macOS takes 103 bytes, and its temporary directories are short."""
NAME_BYTES = len("/chorus-12345678/7f0123456789")
SHORT_DIRECTORY = "/tmp"  # noqa: S108 - TemporaryDirectory makes a private directory in it.
REPORT_BYTES_AT_MOST = 64 * 1024
GRACE_S = 0.1
"""When the supervisor itself was stopped, it still reads a datagram that came meanwhile within this time."""


@contextmanager
def socket_directory(parent: Path | None = None) -> Iterator[Path]:
    """A private directory for sockets: in `parent`, or in /tmp where that path would be too long.

    Without `parent` it is in the temporary directory.
    """
    wanted = str(parent or tempfile.gettempdir())
    fits = len(wanted.encode()) + NAME_BYTES <= PATH_BYTES_AT_MOST
    with tempfile.TemporaryDirectory(prefix="chorus-", dir=wanted if fits else SHORT_DIRECTORY) as path:
        yield Path(path)


class ReportSocket:
    """A datagram socket at a path that only this user can write to; the end of its block removes it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.bind(str(path))
            path.chmod(0o600)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "ReportSocket":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._path.unlink(missing_ok=True)

    async def receive(self, within_s: float) -> set[bytes] | None:
        """The lines of one datagram, or None when none came in time."""
        for patience_s in (within_s, GRACE_S):
            with anyio.move_on_after(patience_s):
                await anyio.wait_readable(self._socket)
                return set(self._socket.recv(REPORT_BYTES_AT_MOST).splitlines())
        return None
