"""Carries out what operators decide about parked messages and refused rows (`chorus parked retry`, `skip`, `void`)."""

from collections.abc import Sequence
from typing import Final

import structlog

from shared.engine.publish.blocked import BlockedKeys
from shared.ports.clock import Clock
from shared.ports.rows import NumberedRow, ParkedVerdict
from shared.ports.store import Store, Transaction
from shared.wire.messages import CORRELATION_ID

POLL_S: Final = 1.0
"""How often the loop looks for new verdicts."""

_log = structlog.get_logger("chorus.verdicts")


class Verdicts:
    """The operators' verdicts on the partitions of one process; the commands write them into the database."""

    def __init__(self, store: Store, blocked: BlockedKeys, clock: Clock) -> None:
        self._store = store
        self._blocked = blocked
        self._clock = clock
        self._looked_at = clock.monotonic()

    async def carry_out(self, partitions: Sequence[int], *, limit: int) -> list[ParkedVerdict]:
        """Retry refused rows or give them their next edition, and return the parked messages to retry or skip.

        Reads the database once a second, and else returns none.

        Raises:
            DatabaseBusyError: the database cannot be used now.
        """
        now = self._clock.monotonic()
        if now - self._looked_at < POLL_S:
            return []
        self._looked_at = now

        def read(transaction: Transaction) -> tuple[list[ParkedVerdict], list[tuple[int, str]]]:
            parked = transaction.parked.with_verdict(partitions, limit=limit)
            return parked, transaction.refused.verdicts(partitions)

        parked, refused = await self._store.read(read)
        if refused:
            self._blocked.retry([n for n, verdict in refused if verdict == "retry"])
            await self._void([n for n, verdict in refused if verdict == "void"])
        return parked

    async def _void(self, numbers: Sequence[int]) -> None:
        """Give rows their next edition. Rows in flight wait for the next look."""
        reserved = self._blocked.reserve(numbers)
        if not reserved:
            return
        rows: list[NumberedRow] = []
        try:
            rows = await self._store.transact(lambda transaction: transaction.refused.give_next_editions(reserved))
        finally:
            self._blocked.replace(reserved, rows)
        for n, row in rows:
            saga = row.headers[CORRELATION_ID]
            _log.warning("published under its next edition", saga=saga, message=row.event_id, n=n, subject=row.subject)
