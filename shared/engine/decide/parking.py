"""Parked keys: a poison message stops its own key, never its partition, until an operator has dealt with it.

The first message of a key to fail is parked with its reason and copied to DEAD_LETTERS. Later messages of the key wait
behind it, in order. Parking is also an event in EVENTS, so a rebuilt database parks the same messages again.
"""

from collections.abc import Iterable

import structlog

from shared.engine.decide.outgoing import OutgoingRows, parked_aggregate
from shared.engine.route.incoming import Incoming
from shared.ports.broker import Delivery
from shared.ports.rows import JournalRow, ParkedRow, ParkedVerdict
from shared.ports.store import Transaction
from shared.wire.bodies import BODY_BYTES_AT_MOST

_log = structlog.get_logger("chorus.parking")


class ParkedKeys:
    """The parked messages of one context, as one batch finds and leaves them; the commit writes the lists."""

    def __init__(self, transaction: Transaction, outgoing: OutgoingRows) -> None:
        self.parked: list[ParkedRow] = []
        self.unparked: list[int] = []
        """Ids of parked messages that this batch decides or skips."""
        self.failed_again: dict[int, tuple[str, str]] = {}
        """(key, reason) by the id of the parked message."""
        self._transaction = transaction
        self._outgoing = outgoing
        self._count_by_key = transaction.parked.counts()
        self._failed_keys: set[str] = set()
        self._last_versions: dict[str, int] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._count_by_key

    def __len__(self) -> int:
        """How many messages of the context are parked after this batch."""
        return sum(self._count_by_key.values())

    def load(self, message_ids: Iterable[str]) -> None:
        """Look up, in one query, the last `MessageParked` version of each of these messages."""
        self._last_versions = self._transaction.last_versions(map(parked_aggregate, message_ids))

    def failed_in_this_batch(self, key: str) -> bool:
        """Whether a retry of this key has failed in this batch already: the rest of the key goes on waiting."""
        return key in self._failed_keys

    def park(self, message: Incoming, delivery: Delivery, reason: str) -> list[JournalRow]:
        """Park a message; returns the rows to publish. `reason` is empty for one that waits behind another.

        A body that is larger than any message of ours is cut, but stays too large: a retry refuses it the same way, and
        the event stays within what the server accepts.
        """
        rows = []
        if message.key not in self._count_by_key:
            self._count_by_key[message.key] = 0
            _log.error("parked", **message.ids, key=message.key, type=message.type, reason=reason)
            rows.append(self._outgoing.dead_letter(message, delivery, reason))
        self._count_by_key[message.key] += 1
        row = ParkedRow(
            message.key, message.partition, message.stream, delivery.sequence, delivery.at_ns, message.message_id,
            delivery.subject, delivery.headers, delivery.body[: BODY_BYTES_AT_MOST + 1], reason,
        )  # fmt: skip
        self.parked.append(row)
        return [*rows, self._outgoing.parked(message, row)]

    def park_again(self, message: Incoming, waiting: ParkedVerdict, reason: str) -> list[JournalRow]:
        """Keep a message parked whose retry failed; a new reason is published as a further `MessageParked`."""
        _log.error("parked again", **message.ids, key=message.key, type=message.type, reason=reason)
        self._failed_keys.add(message.key)
        self.failed_again[waiting.id] = (message.key, reason)
        version = self._last_versions.get(parked_aggregate(message.message_id), 0)
        if version and reason == waiting.row.reason:
            return []
        return [self._outgoing.parked(message, waiting.row._replace(reason=reason), version=version + 1)]

    def unpark(self, message: Incoming, waiting: ParkedVerdict) -> JournalRow:
        """Release a message that was decided or skipped."""
        if waiting.skip:
            _log.warning("skipped", **message.ids, key=message.key, who=waiting.who, why=waiting.why)
        else:
            _log.warning("unparked", **message.ids, key=message.key)
        self.unparked.append(waiting.id)
        self._count_by_key[message.key] -= 1
        if not self._count_by_key[message.key]:
            del self._count_by_key[message.key]
        return self._outgoing.unparked(message, waiting)
