"""Words that must not be shown: passwords, tokens, and the URLs that carry them."""

import re

_USER_INFO = re.compile(r"(?<=://)[^,\s]*@")
"""All up to the last @, because a password that is not quoted may hold a / or another @."""


class Secret(str):
    """Used as it is, shown as `***`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class SecretUrl(str):
    """A URL that is shown without the password or token it may carry."""

    __slots__ = ()

    def __repr__(self) -> str:
        return without_password(self)


def without_password(url: str) -> str:
    """The URL as it may be shown: `nats://user:***@host.example`, and a token alone is `nats://***@host`."""
    return _USER_INFO.sub(_hidden, url)


def _hidden(user_info: re.Match[str]) -> str:
    user, colon, _ = user_info.group()[:-1].partition(":")
    return f"{user}:***@" if colon else "***@"
