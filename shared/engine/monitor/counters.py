"""Counts what the loop of one process has done; metrics, health file and tools read it."""

from collections.abc import Sequence
from datetime import datetime

from shared.engine.monitor.reaction_times import ReactionTimes
from shared.engine.monitor.timings import Timings
from shared.engine.route.incoming import Incoming


class Counters:
    """The figures since the process started, apart from `parked`: how many messages of the context are parked now."""

    def __init__(self) -> None:
        self.decided = 0
        self.duplicates = 0
        self.parked = 0
        self.strangers = 0
        self.batches = 0
        self.fenced = 0
        self.commit_times = Timings()
        self.reaction_times = ReactionTimes()

    def count(
        self, messages: Sequence[Incoming], committed_at: datetime, duplicates: int, parked: int, strangers: int
    ) -> None:
        """Count a batch that was committed."""
        self.batches += 1
        self.decided += len(messages)
        self.duplicates += duplicates
        self.parked = parked
        self.strangers += strangers
        self.reaction_times.add(messages, committed_at)
