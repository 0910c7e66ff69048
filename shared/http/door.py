"""Declares a door: which paths it has, and which command comes of a request. A system declares DOOR in its door.py.

A `CommandPath` takes the body of one command. A `WebhookPath` takes what an outside system signs, and translates it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from msgspec import Struct


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPath:
    """`POST path` with the body of `command` of `context`; its message id begins with the header `Idempotency-Key`."""

    path: str
    context: str
    command: type[Struct]
    summary: str


class Said(Struct, frozen=True, kw_only=True):
    """The command that a webhook leads to, under the outside system's own id of its message."""

    context: str
    command: Struct
    key: str
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookPath:
    """`POST path` with a body that `sender` has signed. `says(body)` is pure; it raises ValueError for no meaning.

    The header `Signature` is `t=<seconds since 1970>,v1=<hex HMAC-SHA-256 of "<t>.<body>">`.
    """

    path: str
    sender: str
    body: type[Struct]
    says: Callable[[Any], Said]
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """All paths of a door."""

    title: str
    commands: tuple[CommandPath, ...] = ()
    webhooks: tuple[WebhookPath, ...] = ()
