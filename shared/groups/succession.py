"""Changes a running group to the second database that `chorus replay --swap` has left beside its own.

The second database first catches up with the first one, so no answer becomes older. A process that is killed meanwhile
finds one of the two in place, with the position in it.
"""

from typing import Final

import structlog

from shared.groups.batch import Batches
from shared.groups.refold import fold_up_to
from shared.ports.broker import Broker
from shared.ports.clock import Clock
from shared.ports.store import DatabaseError
from shared.ports.views import Known, ViewStore

AGAIN_AFTER_S: Final = 5.0
"""How long the second database waits when another process reads the first one, such as `chorus audit`."""

_log = structlog.get_logger("chorus.group")


class Succession:
    """The second databases of one group."""

    def __init__(self, store: ViewStore, batches: Batches, broker: Broker, clock: Clock) -> None:
        self._store = store
        self._batches = batches
        self._broker = broker
        self._clock = clock
        self._from = clock.monotonic()

    def is_due(self, known: Known) -> bool:
        """Whether a second database waits for a group with this position; looks at a file, which takes microseconds."""
        is_time = self._clock.monotonic() >= self._from
        return is_time and known.created != "" and self._store.has_successor(known.created)

    async def take(self, known: Known) -> bool:
        """Make the second database the live one, and tell whether it is.

        Raises:
            BrokerError: EVENTS cannot be read; nothing has changed.
            DatabaseBusyError: the second database cannot be written now; nothing has changed.
        """
        successor = await self._store.open_successor()
        try:
            second = await successor.transact(lambda transaction: transaction.known())
            second = second._replace(created=known.created)  # It has none before its first event.
            await fold_up_to(successor.transact, self._batches, self._broker, second, known.sequence)
        finally:
            await successor.close()
        try:
            await self._store.succeed()
        except DatabaseError as error:
            self._from = self._clock.monotonic() + AGAIN_AFTER_S
            _log.warning("the second read model waits", reason=str(error))
            return False
        return True
