"""Notifies the supervisor of this process (systemd, `chorus up`) that it is ready and that it lives."""

import os
import socket


class Notifier:
    """Speaks systemd's notify protocol; does nothing without `NOTIFY_SOCKET`."""

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls) -> "Notifier":
        """Take the address from NOTIFY_SOCKET, and remove the variable so that child processes do not inherit it."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None))

    def ready(self) -> None:
        """Report that the consumers are bound."""
        self._send("READY=1")

    def alive(self) -> None:
        """Report that the loop finished a round lately."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Report that the process takes no new work."""
        self._send("STOPPING=1")

    def _send(self, what: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(what.encode(), socket.MSG_DONTWAIT, self._address)
            except BlockingIOError:
                pass  # The supervisor is behind with reading; do not wait for it.
            except OSError:
                self._socket = None  # The supervisor is gone; go on without it.
