"""Shows the streams of the evidence to a rebuild, behind the Broker port."""

from collections.abc import AsyncIterator

from shared.ports.broker import Stored, StreamInfo
from tests.chaos.evidence import Evidence


class Replay:
    """The streams of the evidence behind as much of the Broker port as a rebuild reads."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence

    async def stream_info(self, stream: str) -> StreamInfo:
        """The stream as it was found."""
        messages = self._evidence.streams[stream]
        first, last = (messages[0].sequence, messages[-1].sequence) if messages else (1, 0)
        return StreamInfo(self._evidence.born[stream], first, last, len(messages), {})

    async def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        """The messages under a subject that ends in `>`."""
        assert subject.endswith(">"), subject
        for stored in self._evidence.streams[stream]:
            if stored.subject.startswith(subject[:-1]) and first <= stored.sequence <= (up_to or stored.sequence):
                yield stored
