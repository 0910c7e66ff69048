"""Measures reactions: from the storage of a message in its stream to the commit of what came of it."""

from collections.abc import Iterable
from datetime import datetime

from shared.engine.monitor.timings import Timings
from shared.engine.route.incoming import Ignore, Incoming
from shared.ports.broker import Delivery


class ReactionTimes:
    """The reactions of one process, by the type of the message."""

    def __init__(self) -> None:
        self.by_type: dict[str, Timings] = {}

    def add(self, messages: Iterable[Incoming], committed_at: datetime) -> None:
        """Count the messages of one batch."""
        committed_ns = int(committed_at.timestamp() * 1e9)
        for message in messages:
            if isinstance(message.source, Delivery) and type(message.handling) is not Ignore:
                times = self.by_type.get(message.type)
                if times is None:
                    times = self.by_type[message.type] = Timings()
                times.add((committed_ns - message.source.at_ns) / 1e9)
