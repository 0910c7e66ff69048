"""Keeps the inputs of a batch that are in no stream afterwards: commands, requests, and the outcomes of calls.

`chorus replay` decides them again. Events that a context hears are in EVENTS, and deadlines follow from its own events.
"""

from collections.abc import Collection, Sequence

import msgspec

from shared.engine.route.incoming import Asker, Decide, Incoming
from shared.ports.broker import Delivery
from shared.ports.rows import EffectRow, InputRow
from shared.wire.streams import COMMANDS

_encoder = msgspec.json.Encoder()


def inputs_of(messages: Sequence[Incoming], ended: Collection[str], *, after_n: int) -> list[InputRow]:
    """The rows to keep; `ended` are the effects whose outcome was decided. A row that exists is not replaced."""
    rows: list[InputRow] = []
    for message in messages:
        source = message.source
        if type(source) is Delivery:
            if message.stream == COMMANDS:
                rows.append(
                    InputRow(
                        "command", message.message_id, message.type, message.key, source.at_ns, after_n, source.body
                    )
                )
        elif isinstance(source, EffectRow | Asker) and isinstance(message.handling, Decide):
            kind = "request" if isinstance(source, Asker) else "outcome"
            if kind == "outcome" and message.message_id not in ended:
                continue
            for command in message.handling.commands:
                name, body = type(command).__name__, _encoder.encode(command)
                rows.append(InputRow(kind, message.message_id, name, message.key, 0, after_n, body))
    return rows
