"""`chorus timeline --follow`: shows a saga while it goes on, until Ctrl-C.

A terminal shows the tree and what lies ahead, and draws both again each time. A pipe gets a line for each message.
"""

import json
from typing import TYPE_CHECKING

from shared.cli.adapters import saga_reader
from shared.cli.flags import Connection
from shared.cli.output import console, show_lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from shared.inspect.saga_reader import SagaReader
    from shared.inspect.timeline.told_fields import ToldFields
    from shared.inspect.timeline.tree import Message
    from shared.ports.broker import Broker


async def follow_saga(connection: Connection, key: str, as_json: bool) -> None:
    """Follow a saga; raises BrokerUnavailableError when the broker goes away."""
    reader = saga_reader()
    async with connection.connected("timeline") as broker:
        if console().is_terminal and not as_json:
            await _draw(broker, reader, key)
        else:
            await _print(broker, reader.told_fields, key, as_json=as_json)


async def _draw(broker: "Broker", reader: "SagaReader", key: str) -> None:
    import anyio
    from rich.console import Group
    from rich.live import Live

    from shared.inspect.timeline.drawing import draw
    from shared.inspect.timeline.following import FOLLOW_S

    with Live(console=console(), auto_refresh=False) as live:
        while True:
            reading = await reader.read(broker, key)
            trees = draw(reading.roots, reading.annotations, reader.told_fields)
            live.update(LastLines(Group(trees, *reader.standings(reading))), refresh=True)
            await anyio.sleep(FOLLOW_S)


class LastLines:
    """The last lines of something that may be higher than the terminal: the news stand there."""

    def __init__(self, shown: "RenderableType") -> None:
        self._shown = shown

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "Iterator[Segment]":
        from rich.segment import Segment

        for line in console.render_lines(self._shown, options, pad=False)[-(console.size.height - 1) :]:
            yield from line
            yield Segment.line()


async def _print(broker: "Broker", told_fields: "ToldFields", key: str, *, as_json: bool) -> None:
    from shared.inspect.timeline.following import following

    first: Message | None = None
    async for messages in following(broker, key):
        for message in messages:
            first = first or message
            show_lines([_json(message, told_fields) if as_json else _line(message, first, told_fields)])


def _line(message: "Message", first: "Message", told_fields: "ToldFields") -> str:
    from shared.config.units import span

    is_due = " is due" if message.kind == "due" else ""
    told = told_fields.of(message).values()
    return " ".join((f"{span(message.at - first.at):>9}", f"{message.context}.{message.type}{is_due}", *told))


def _json(message: "Message", told_fields: "ToldFields") -> str:
    from shared.wire.messages import rfc3339

    return json.dumps(
        {
            "id": message.id,
            "kind": message.kind,
            "context": message.context,
            "type": message.type,
            "at": rfc3339(message.at),
            "caused_by": message.caused_by,
            **told_fields.of(message),
        }
    )
