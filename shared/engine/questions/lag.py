"""Answers `api.<context>.lag`: how far this process is behind in one of its partitions, and how fast it works."""

import msgspec

from shared.context import Answer, Request
from shared.engine.effects import EffectRunner
from shared.engine.intake.partition import BEGINNING, Partition
from shared.engine.intake.reader import Reader
from shared.engine.loop import Loop
from shared.engine.ownership import PartitionOwnership
from shared.engine.publish.relay import Relay
from shared.engine.questions.replies import process_name, refusal
from shared.ports.broker import Broker, BrokerError
from shared.ports.clock import Clock, moment
from shared.wire.lag import AskLag, PartitionLag, StreamLag
from shared.wire.messages import rfc3339

EXAMPLE = '{"partition": 0}'

_decoder = msgspec.json.Decoder(AskLag)
_encoder = msgspec.json.Encoder()


class LagQuestion:
    """Every process of the context gets the request, and the owner of the partition answers."""

    def __init__(
        self,
        context: str,
        broker: Broker,
        clock: Clock,
        ownership: PartitionOwnership,
        relay: Relay,
        effects: EffectRunner,
        loop: Loop,
    ) -> None:
        self._context = context
        self._broker = broker
        self._clock = clock
        self._ownership = ownership
        self._relay = relay
        self._effects = effects
        self._loop = loop

    async def answer(self, request: Request) -> Answer | None:
        """Answer a request, or leave it to the owner of the partition."""
        try:
            number = _decoder.decode(request.body).partition
        except msgspec.DecodeError as error:
            return refusal(EXAMPLE, str(error)) if self._ownership.owns(0) else None
        if not self._ownership.owns(number):
            return None
        return Answer(_encoder.encode(await self.lag(self._ownership.partitions[number])))

    async def lag(self, partition: Partition) -> PartitionLag:
        """Collect the figures of one of our partitions."""
        return PartitionLag(
            context=self._context,
            partition=partition.number,
            process=process_name(),
            at=rfc3339(self._clock.now()),
            streams=tuple([await self._stream(partition, reader) for reader in partition.readers.values()]),
            taken=partition.taken,
            unpublished=self._relay.backlog,
            calls=self._effects.backlog,
            parked=self._loop.counters.parked,
            batches=self._loop.counters.batches,
            commit=self._loop.counters.commit_times.so_far,
            publish=self._relay.publish_times.so_far,
        )

    async def _stream(self, partition: Partition, reader: Reader) -> StreamLag:
        oldest = reader.oldest
        return StreamLag(
            stream=reader.stream,
            sequence=partition.positions.get(reader.stream, BEGINNING).seq,
            behind=await messages_behind(self._broker, reader),
            oldest_at="" if oldest is None else rfc3339(moment(oldest.at_ns)),
        )


async def messages_behind(broker: Broker, reader: Reader) -> int | None:
    """The number of messages that the loop has not taken yet; None when the broker does not answer."""
    try:
        info = await broker.consumer_info(reader.stream, reader.consumer)
    except BrokerError:
        return None  # The tool that asks sees by itself that the broker does not answer.
    return info.pending + reader.buffered
