"""The answers of one batch. An idempotency key has one answer for ever; another request under it is a conflict.

The table of answers is the inbox of requests. It is apart from the inbox of messages, so that no client can use up the
id of a message that is still to come.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from shared.context import Event
from shared.endpoint import Answer
from shared.engine.route.incoming import Asker, Incoming
from shared.ports.rows import AnswerRow
from shared.ports.store import Transaction

_encoder = msgspec.json.Encoder()


class Given(NamedTuple):
    """The answer to one asker, `asker.n`; `reply_delay_s` delays only the first answer under a key."""

    asker: Asker
    answer: Answer
    reply_delay_s: float = 0.0


class Answers:
    """`new` is for the commit to write; `given` goes back to the askers after the commit."""

    def __init__(self, transaction: Transaction) -> None:
        self.new: list[AnswerRow] = []
        self.given: list[Given] = []
        self._transaction = transaction
        self._known: dict[str, AnswerRow] = {}

    def load(self, messages: Sequence[Incoming]) -> None:
        """Look up the keys of the requests in one query."""
        if keys := [message.message_id for message in messages if isinstance(message.source, Asker)]:
            self._known = self._transaction.answers(keys)

    def repeat(self, request: Incoming, asker: Asker) -> bool:
        """Give the answer of an earlier request under the same key; False when there was none."""
        known = self._known.get(request.message_id)
        if known is None:
            return False
        if known.request_hash == request.content:
            self.given.append(Given(asker, Answer(body=known.answer)))
        else:
            self.refuse(asker, "409", f"{request.message_id} was used for another request; use a new key")
        return True

    def give(self, request: Incoming, asker: Asker, events: Sequence[Event]) -> None:
        """Answer a request that was decided just now; raises the errors of its endpoint's functions."""
        decided = tuple(events)
        reply_delay_s = asker.endpoint.reply_delay_s(asker.command, decided)
        row = answer_row(asker.endpoint.operation, request.message_id, request.content, asker.endpoint.answer(decided))
        self._known[request.message_id] = row
        self.new.append(row)
        self.given.append(Given(asker, Answer(body=row.answer), reply_delay_s))

    def refuse(self, asker: Asker, code: str, text: str) -> None:
        """Answer with an error and keep nothing: the client may ask again."""
        self.given.append(Given(asker, Answer(error=(code, text))))


def answer_row(operation: str, idempotency_key: str, request_hash: bytes, reply: msgspec.Struct) -> AnswerRow:
    """The answer as the database keeps it."""
    return AnswerRow(idempotency_key, operation, request_hash, _encoder.encode(reply))
