"""Reads the certificate with which the console speaks TLS, and its key."""

import ssl
from pathlib import Path
from typing import NamedTuple

from shared.config.settings import Settings, SettingsError


class Certificate(NamedTuple):
    """A certificate with its chain, and its key."""

    cert: Path
    key: Path

    def check(self) -> None:
        """Raise OSError or ValueError unless a server can use them. Nobody is asked for the password of a key."""
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(self.cert, self.key, password=lambda: "")


def certificate(settings: Settings) -> Certificate | None:
    """The certificate of these settings, or None; raises SettingsError when it cannot be used."""
    if settings.console_cert is None and settings.console_key is None:
        return None
    if settings.console_cert is None or settings.console_key is None:
        raise SettingsError(("CHORUS_CONSOLE_CERT and CHORUS_CONSOLE_KEY belong together: set both, or none",))
    found = Certificate(settings.console_cert, settings.console_key)
    for variable, file in (("CHORUS_CONSOLE_CERT", found.cert), ("CHORUS_CONSOLE_KEY", found.key)):
        try:
            file.open("rb").close()
        except OSError as error:
            raise SettingsError((f"{variable}: {file} cannot be read: {error.strerror}",)) from error
    try:
        found.check()
    except (OSError, ValueError) as error:
        problem = f"{found.cert} and {found.key} are no certificate with its key, or the key has a password"
        raise SettingsError((f"CHORUS_CONSOLE_CERT: {problem}",)) from error
    return found
