"""Dedup: the inbox knows the id and the content hash of every message that the context has decided.

The broker delivers at least once. A message whose id is in the inbox has no effect again. A message with a known id but
other content is reported, once.
"""

from collections.abc import Iterable
from enum import Enum

from shared.engine.route.incoming import Incoming
from shared.ports.store import Transaction


class Seen(Enum):
    """The result of `Inbox.check`."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REUSED_ID = "reused id"
    """A known id with other content. `check` returns this once; after that the message is a duplicate."""


class Inbox:
    """The inbox of one batch, in one transaction. `new` holds (message id, content hash) for the commit to write."""

    def __init__(self, transaction: Transaction) -> None:
        self.new: list[tuple[str, bytes]] = []
        self.duplicates = 0
        self._transaction = transaction
        self._known: dict[str, bytes] = {}

    def load(self, messages: Iterable[Incoming]) -> None:
        """Look up all messages of the batch in one query, and in a second one the reused ids among them."""
        found = [(message.message_id, message.content) for message in messages]
        self._known = self._transaction.inbox_hashes([message_id for message_id, _ in found])
        first = dict(self._known)
        reused = [reused_id(*one) for one in found if first.setdefault(one[0], one[1]) != one[1]]
        if reused:
            self._known |= self._transaction.inbox_hashes(reused)

    def check(self, message: Incoming) -> Seen:
        """Compare a message with all that came before it, in earlier batches or in this one, and remember it."""
        known = self._known.get(message.message_id)
        if known is None:
            self._known[message.message_id] = message.content
            self.new.append((message.message_id, message.content))
            return Seen.NEW
        if known != message.content:
            reused = reused_id(message.message_id, message.content)
            if reused not in self._known:
                self._known[reused] = message.content
                self.new.append((reused, message.content))
                return Seen.REUSED_ID
        self.duplicates += 1
        return Seen.DUPLICATE


def reused_id(message_id: str, content: bytes) -> str:
    """The inbox entry that says: this content under a known id was reported. No message id has a space."""
    return f"{message_id} {content.hex()}"
