"""Rebuilds the parked and the skipped messages of a context from its own events in EVENTS."""

from typing import NamedTuple

import msgspec

from shared.ports.broker import Stored
from shared.ports.rows import ParkedRow, SkippedRow
from shared.wire.engine_events import MessageParked, MessageUnparked
from shared.wire.messages import CAUSATION_HASH, CAUSATION_ID, OCCURRED_AT, Subject

_parked = msgspec.json.Decoder(MessageParked)
_unparked = msgspec.json.Decoder(MessageUnparked)


class _Unparked(NamedTuple):
    event: MessageUnparked
    at: str


class ParkedHistory:
    """The parked and the skipped messages after the events that were added, in stream order. Pure."""

    def __init__(self) -> None:
        self.hashes: dict[str, bytes] = {}
        """The content hash of every message that was parked at any time, by its id; the inbox needs all of them."""
        self._rows: dict[str, ParkedRow] = {}
        self._unparked: dict[str, _Unparked] = {}
        self._led_to_events: set[tuple[str, str]] = set()
        """(id, content hash or "") of the cause of every other event of the context."""

    def add(self, stored: Stored, subject: Subject) -> None:
        """Add one event of the context, about a parked message or not."""
        if subject.type == MessageParked.__name__:
            event = _parked.decode(stored.body)
            self.hashes.setdefault(event.message_id, bytes.fromhex(event.content_hash))
            self._rows[event.message_id] = _row(event, subject.key)  # A newer reason keeps the place of the first.
        elif subject.type == MessageUnparked.__name__:
            unparked = _unparked.decode(stored.body)
            self._unparked[unparked.message_id] = _Unparked(unparked, stored.headers[OCCURRED_AT])
        else:
            self._led_to_events.add((stored.headers.get(CAUSATION_ID, ""), stored.headers.get(CAUSATION_HASH, "")))

    def parked(self, asked: set[str]) -> list[ParkedRow]:
        """The messages that are still parked, in the order in which they were parked.

        A message that led to an event was decided, even if its `MessageUnparked` was lost with a database that had not
        published it. There are two exceptions. The outcome of an effect names the event that asked for it (`asked`) as
        its cause. And the refusal of other content under the same id names that content's hash.
        """

        def was_decided(name: str) -> bool:
            causes = {(name, ""), (name, self.hashes[name].hex())}
            return name in self._unparked or (name not in asked and not causes.isdisjoint(self._led_to_events))

        return [row for name, row in self._rows.items() if not was_decided(name)]

    def skipped(self) -> list[SkippedRow]:
        """The messages that an operator skipped, in the order in which the worker skipped them."""
        return [
            SkippedRow(row.key, row.message_id, row.subject, row.reason, event.who, event.why, at)
            for event, at in self._unparked.values()
            if event.outcome == "skipped" and (row := self._rows.get(event.message_id)) is not None
        ]


def _row(event: MessageParked, key: str) -> ParkedRow:
    return ParkedRow(
        key, event.partition, event.stream, event.sequence, event.stored_at_ns, event.message_id, event.subject,
        event.headers, event.body, event.reason,
    )  # fmt: skip
