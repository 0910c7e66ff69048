"""Finds the other command that had an id first, when the stream reports a duplicate.

The server recognizes a duplicate by its id alone and does not store the second message. A new command under a used id
is therefore lost without a sign, unless its sender compares the two.
"""

from datetime import timedelta
from typing import Final

from shared.ports.broker import Broker, Stored
from shared.send.publish import Sent
from shared.wire.messages import CAUSATION_HASH, CAUSATION_ID, command_subject, parse_subject
from shared.wire.streams import COMMANDS, EVENTS

REMEMBERED_FOR: Final = timedelta(minutes=15)
"""Longer than the duplicate window of COMMANDS, so an older message is no duplicate."""
EVENTS_AT_MOST: Final = 200_000


async def find_other_use(broker: Broker, sent: Sent) -> str | None:
    """The other command that had the id of this duplicate, in words; None when the duplicate is this command.

    Also None when the other command has left COMMANDS and led to no event, because no trace of it is left.
    """
    if not sent.published.duplicate:
        return None
    stored = await broker.get(COMMANDS, sent.published.sequence)
    if stored is not None:
        known = parse_subject(stored.subject)
        named = f"{known.context}.{known.type} {known.key}"
        if command_subject(known.context, known.type, known.key) != sent.subject:
            return named
        return None if stored.body == sent.body else f"{named} with another body"
    _, context, _, key = sent.subject.split(".")
    last = (await broker.stream_info(EVENTS)).last_sequence
    first = max(await _first_since(broker, last), last - EVENTS_AT_MOST + 1)
    caused: Stored | None = None
    async for event in broker.read(EVENTS, "evt.>", first=first):
        if event.headers.get(CAUSATION_ID) != sent.id:
            continue
        subject = parse_subject(event.subject)
        if (subject.context, subject.key, event.headers.get(CAUSATION_HASH)) == (context, key, sent.hash):
            return None
        caused = caused or event
    if caused is None:
        return None
    subject = parse_subject(caused.subject)
    return f"another command, which led to {subject.context}.{subject.type} {subject.key}"


async def _first_since(broker: Broker, last: int) -> int:
    """The first event within REMEMBERED_FOR of the newest one, found by binary search."""
    newest = await broker.get(EVENTS, last)
    if newest is None:
        return 1
    low, high = 1, last
    while low < high:
        middle = (low + high) // 2
        stored = await broker.get(EVENTS, middle)
        if stored is None or stored.at < newest.at - REMEMBERED_FOR:
            low = middle + 1
        else:
            high = middle
    return low
