"""Keeps passwords, tokens and the URLs that carry them out of logs and output."""

import re

_USER_INFO = re.compile(r"(?<=://)[^,\s]*@")
"""Matches up to the last @, because an unquoted password may contain a / or another @."""


class Secret(str):
    """A text whose repr is `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class SecretUrl(str):
    """A URL whose repr hides its password or token."""

    __slots__ = ()

    def __repr__(self) -> str:
        return without_password(self)


def without_password(url: str) -> str:
    """Hide the password or token of a URL: `nats://user:***@host.example`, or `nats://***@host` for a token."""
    return _USER_INFO.sub(_hidden, url)


def _hidden(user_info: re.Match[str]) -> str:
    user, colon, _ = user_info.group()[:-1].partition(":")
    return f"{user}:***@" if colon else "***@"
