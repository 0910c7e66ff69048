"""Answers `api.<context>.lag-<group>`: how far the group is behind."""

import msgspec

from shared.context import Answer, Request
from shared.engine.questions.lag import messages_behind
from shared.engine.questions.replies import process_name, refusal
from shared.groups.forwarding.forwarder import Forwarder
from shared.groups.read.progress import Progress
from shared.groups.read.reading import Reading
from shared.ports.broker import Broker
from shared.ports.clock import Clock, moment
from shared.wire.lag import AskGroupLag, Forwarding, GroupLag
from shared.wire.messages import rfc3339

_decoder = msgspec.json.Decoder(AskGroupLag)
_encoder = msgspec.json.Encoder()


class GroupLagQuestion:
    """The process that runs the group answers; one that stands by does not."""

    def __init__(
        self,
        context: str,
        group: str,
        broker: Broker,
        clock: Clock,
        reading: Reading,
        progress: Progress,
        forwarder: Forwarder,
    ) -> None:
        self._context = context
        self._group = group
        self._broker = broker
        self._clock = clock
        self._reading = reading
        self._progress = progress
        self._forwarder = forwarder

    async def answer(self, request: Request) -> Answer:
        """Answer a request."""
        try:
            _decoder.decode(request.body or b"{}")
        except msgspec.DecodeError as error:
            return refusal("{}", str(error))
        return Answer(_encoder.encode(await self.lag()))

    async def lag(self) -> GroupLag:
        """Collect the figures."""
        oldest, known = self._reading.reader.oldest, self._progress.known
        return GroupLag(
            context=self._context,
            group=self._group,
            process=process_name(),
            at=rfc3339(self._clock.now()),
            sequence=self._progress.up_to,
            behind=await messages_behind(self._broker, self._reading.reader),
            oldest_at="" if oldest is None else rfc3339(moment(oldest.at_ns)),
            last_at=rfc3339(moment(known.at_ns)) if known.at_ns else "",
            folded=self._progress.folded,
            set_aside=self._progress.set_aside,
            forwarding=self._forwarding() if self._forwarder.is_needed else None,
        )

    def _forwarding(self) -> Forwarding:
        forwarder = self._forwarder
        return Forwarding(
            waiting=forwarder.waiting,
            parked=forwarder.parked,
            failed=forwarder.failed,
            is_left_alone=forwarder.breaker.is_open,
        )
