"""Carries out what an operator has decided about parked messages and refused rows (`chorus parked`)."""

from collections.abc import Sequence
from typing import Final

import structlog

from shared.engine.publish.blocked import BlockedKeys
from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow, ParkedVerdict
from shared.ports.store import Store, Transaction

POLL_S: Final = 1.0
"""How often the loop looks for new verdicts."""

_log = structlog.get_logger("chorus.verdicts")


class Verdicts:
    """The verdicts on one context, as one process of it sees them."""

    def __init__(self, store: Store, blocked: BlockedKeys, clock: Clock) -> None:
        self._store = store
        self._blocked = blocked
        self._clock = clock
        self._looked = clock.monotonic()

    async def given(self, partitions: Sequence[int], *, limit: int) -> list[ParkedVerdict]:
        """The parked messages to try again or to leave out; refused rows are handed to the relay. Once a second.

        Raises:
            DatabaseBusyError: the database could not be read or written now.
        """
        now = self._clock.monotonic()
        if now - self._looked < POLL_S:
            return []
        self._looked = now

        def read(transaction: Transaction) -> tuple[list[ParkedVerdict], list[tuple[int, str]]]:
            parked = transaction.parked.with_verdict(partitions, limit=limit)
            return parked, transaction.refused.verdicts(partitions)

        parked, refused = await self._store.read(read)
        if refused:
            self._blocked.retry([n for n, verdict in refused if verdict == "retry"])
            await self._void([n for n, verdict in refused if verdict == "void"])
        return parked

    async def _void(self, numbers: Sequence[int]) -> None:
        """Give rows their next edition; those that are in flight now have to wait for the next look."""
        held = self._blocked.hold(numbers)
        if not held:
            return
        rows: list[NumberedRow] = []
        try:
            rows = await self._store.transact(lambda transaction: transaction.refused.give_next_editions(held))
        finally:
            self._blocked.replace(held, rows)
        for n, row in rows:
            _log.warning("published under its next edition", n=n, id=row.event_id, subject=row.subject)
