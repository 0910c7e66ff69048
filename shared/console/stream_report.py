"""Reads every stream and every consumer, and compares the streams with the declaration."""

from collections.abc import Sequence
from typing import Final

import anyio
from msgspec import Struct

from shared.console.sources import Sources
from shared.derived.topology import STREAMS, consumer_name, streams_of
from shared.ports.broker import BrokerError, BrokerRefusedError, ConsumerInfo, StreamInfo

ASKED_AT_ONCE: Final = 8


class ConsumerNow(Struct, frozen=True, kw_only=True):
    """A consumer of a context on one partition of a stream; `info` is None when it does not exist."""

    name: str
    context: str
    info: ConsumerInfo | None


class StreamNow(Struct, frozen=True, kw_only=True):
    """A stream with its consumers, those that do not exist first; `info` is the reason when it cannot be read."""

    name: str
    info: StreamInfo | str
    consumers: Sequence[ConsumerNow]


class StreamReport(Struct, frozen=True, kw_only=True):
    """Every stream, and how they differ from the declaration."""

    streams: Sequence[StreamNow]
    differences: Sequence[str]


async def read_streams(sources: Sources) -> StreamReport:
    """Ask the broker about every stream and every consumer; raises BrokerError."""
    reader = sources.reader
    streams: dict[str, StreamInfo | str] = {}
    consumers: dict[str, list[ConsumerNow]] = {stream: [] for stream in STREAMS}
    differing: list[str] = []
    limit = anyio.CapacityLimiter(ASKED_AT_ONCE)

    async def stream_of(name: str) -> None:
        async with limit:
            try:
                streams[name] = await sources.broker.stream_info(name)
            except BrokerRefusedError as error:
                streams[name] = error.text

    async def consumer_of(stream: str, context: str, partition: int) -> None:
        name = consumer_name(context, partition)
        async with limit:
            try:
                info = await sources.broker.consumer_info(stream, name)
            except BrokerRefusedError:
                info = None
        consumers[stream].append(ConsumerNow(name=name, context=context, info=info))

    async def compare() -> None:
        try:
            differing.extend(await sources.differences())
        except BrokerError as error:
            differing.append(f"the streams could not be compared with the declaration: {error}")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(compare)
        for name in STREAMS:
            tasks.start_soon(stream_of, name)
        for context in reader.contexts:
            for stream in streams_of(context):
                for partition in range(reader.partitions):
                    tasks.start_soon(consumer_of, stream, context.name, partition)
    return StreamReport(
        streams=[
            StreamNow(
                name=name,
                info=streams[name],
                consumers=sorted(consumers[name], key=lambda one: (one.info is not None, one.name)),
            )
            for name in STREAMS
        ],
        differences=differing,
    )
