"""Rights of one user as the server checks them: patterns of subjects to which it may publish and subscribe. Pure.

The server checks the subject of a message. It does not check the reply subject of a request, so a user who may send any
request can have its answer published anywhere. Therefore no context believes an event without the form of its publisher
(`shared/engine/route/event_form.py`), and `chorus audit` compares EVENTS with the journals.
"""

import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from shared.config.connection import INBOX

RESPONSES_AT_MOST: Final = 1
RESPONSE_WITHIN: Final = "1m"
"""A service may answer each request once, within this time: it needs no right to publish to the inboxes of others."""


class Rights(Struct, frozen=True, kw_only=True):
    """`never` are the exceptions from `publish`. With `answers` the user may answer the requests that it receives."""

    publish: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()
    answers: bool = False

    def may_publish(self, subject: str) -> bool:
        """Whether a message may be published to this subject, answers aside."""
        return _covered(subject, self.publish) and not _covered(subject, self.never)

    def may_subscribe(self, subject: str) -> bool:
        """Whether a subscription to this subject, or pattern of subjects, is allowed."""
        return _covered(subject, self.subscribe)


class User(Struct, frozen=True, kw_only=True):
    """A login of the server. `purpose` says in one line who or what connects with it."""

    name: str
    purpose: str
    rights: Rights

    @property
    def inbox_prefix(self) -> str:
        """The prefix of its inboxes, so that no user can subscribe to the answers of another."""
        return f"{INBOX}{self.name}"


def _covered(subject: str, patterns: Iterable[str]) -> bool:
    return any(_expression(pattern).fullmatch(subject) for pattern in patterns)


def _expression(pattern: str) -> re.Pattern[str]:
    tokens = {"*": r"[^.>]+", ">": r".+"}
    return re.compile(r"\.".join(tokens.get(token) or re.escape(token) for token in pattern.split(".")))
