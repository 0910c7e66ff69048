"""Streams: their contents, their consumers, and how they differ from the declaration, as `chorus streams plan` says."""

from typing import Final

import anyio
from msgspec import Struct
from starlette.requests import Request

from shared.console.console import Console
from shared.console.pages.page import Page, Values
from shared.ports.broker import BrokerError, BrokerRefusedError, ConsumerInfo, StreamInfo
from shared.topology import STREAMS, consumer_name, streams_of

ASKED_AT_ONCE: Final = 8


class ConsumerNow(Struct, frozen=True, kw_only=True):
    """A consumer of a context on one partition of a stream; `info` is None when it does not exist."""

    name: str
    context: str
    info: ConsumerInfo | None


async def content(console: Console, _: Request) -> Values:
    """Ask the broker about every stream and every consumer."""
    sources, reader = console.sources, console.sources.reader
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
    return {
        "streams": [
            (name, streams[name], sorted(consumers[name], key=lambda one: (one.info is not None, one.name)))
            for name in STREAMS
        ],
        "differences": differing,
        "commands": (
            "chorus streams plan",
            *(sources.nats("stream", "info", name) for name in STREAMS),
            sources.nats("consumer", "report", STREAMS[1]),
        ),
    }


PAGE = Page(path="/streams", template="streams.html", menu="Streams", content=content)
