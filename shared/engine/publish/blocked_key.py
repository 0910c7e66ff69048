"""One blocked key: its rows in order, why the first one is not published, and when the next attempt is."""

from collections import deque
from typing import Final

from shared.engine.retry import Backoff, Delays
from shared.ports.rows import NumberedRow, RefusedRow

UNANSWERED_DELAYS: Final = Delays(first_s=0.05, last_s=5.0, shortened_by=0.5)


class BlockedKey:
    """The rows of one key. The first one blocks the rest."""

    __slots__ = ("backoff", "in_flight", "partition", "refusal", "retry_at", "rows", "tries")

    def __init__(self, partition: int, refusal: RefusedRow | None = None) -> None:
        self.partition = partition
        self.rows: deque[NumberedRow] = deque()
        self.refusal = refusal
        """Why the broker refuses the first row; None when it gave no answer."""
        self.retry_at = 0.0
        self.backoff = Backoff(UNANSWERED_DELAYS)
        self.tries = 0
        self.in_flight = False
