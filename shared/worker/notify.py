"""Tells whoever supervises this process (systemd, `chorus up`) that it is ready and that it lives."""

import os
import socket


class Notifier:
    """Speaks systemd's notify protocol where `NOTIFY_SOCKET` is set."""

    def __init__(self, address: str | None) -> None:
        self._socket: socket.socket | None = None
        if address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def from_environment(cls) -> "Notifier":
        """As systemd and `chorus up` say it; the variable is taken away from child processes."""
        return cls(os.environ.pop("NOTIFY_SOCKET", None))

    def ready(self) -> None:
        """Consumers are bound."""
        self._say("READY=1")

    def alive(self) -> None:
        """The loop came round lately."""
        self._say("WATCHDOG=1")

    def stopping(self) -> None:
        """No new work is taken."""
        self._say("STOPPING=1")

    def _say(self, what: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(what.encode(), socket.MSG_DONTWAIT, self._address)
            except BlockingIOError:
                pass  # The supervisor is behind with its reading; it must not hold us up.
            except OSError:
                self._socket = None  # The supervisor is gone; it is not our part to go with it.
