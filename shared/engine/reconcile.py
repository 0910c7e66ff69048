"""Compares what a context knows with what the broker has, before a consumer is reset to a position.

Sequences are used again after a loss, so a position is only worth something while the stream is the one we know and
the message at our position has the id we know.
"""

from collections.abc import Mapping
from typing import Protocol

import structlog

from shared.engine.store import Store
from shared.ports import Broker

_log = structlog.get_logger("chorus.reconcile")


class Readable(Protocol):
    """A partition as far as checking it needs."""

    number: int


class Reconciler:
    """Checks a context's positions against the streams."""

    def __init__(self, store: Store, broker: Broker, created: Mapping[str, str]) -> None:
        self._store = store
        self._broker = broker
        self._created = created

    async def check(self, partition: Readable) -> None:
        """Compare a partition's positions with the streams."""
        return
