"""Finds the declared pauses in which sagas are: each began with an event, and waits for the command of a client."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from shared.inspect.timeline.tree import Message
from shared.inspect.why.causes import Cause, Kind
from shared.saga import Pause, Saga
from shared.wire.messages import rfc3339

KEYS_AT_MOST = 3


def pauses(sagas: Iterable[Saga], messages: Sequence[Message]) -> Iterator[Cause]:
    """A cause for each pause that goes on; `messages` are those of the saga's key."""
    latest: dict[str, Message] = {}
    for message in messages:
        if message.kind == "evt" and not message.strange:
            latest[f"{message.context}.{message.type}"] = message
    for pause in dict.fromkeys(pause for saga in sagas for pause in saga.pauses):
        began = latest.get(pause.event)
        if began is not None and not any(_ends(latest.get(event), began) for event in pause.until):
            yield _cause(pause, began)


def _ends(message: Message | None, began: Message) -> bool:
    return message is not None and message.sequence > began.sequence


def _cause(pause: Pause, began: Message) -> Cause:
    keys = keys_at(began.body, pause.keys)
    named = f" of {', '.join(keys[:KEYS_AT_MOST])}" if keys else ""
    return Cause(
        kind=Kind.PAUSED,
        context=began.context,
        text=f"it is on hold since {pause.event} at {rfc3339(began.at)[11:19]} UTC, until {pause.ended_by}{named}",
        remedy=f"chorus send {pause.ended_by} {keys[0] if keys else 'KEY'} --help",
    )


def keys_at(body: bytes, path: str) -> list[str]:
    """The texts at a path of a JSON body, such as `parts.part_id`, each once; none where it leads nowhere."""
    found: list[Any] = []
    with suppress(msgspec.DecodeError, RecursionError):
        found = [msgspec.json.decode(body)]
    for name in path.split("."):
        values = [one.get(name) for one in found if isinstance(one, dict)]
        found = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return list(dict.fromkeys(one for one in found if isinstance(one, str)))
