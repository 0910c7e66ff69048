"""Makes the answers of a lost database again from the events that requests led to.

A request that led to no event is forgotten. Asked again under its key, it leads to no event again.
"""

import msgspec

from shared.context import Event, Rejected
from shared.engine.decide.answers import answer_row
from shared.engine.route.routing import Routing
from shared.ports.rows import AnswerRow, JournalRow
from shared.wire.engine_events import CommandRejected
from shared.wire.messages import CAUSATION_HASH, CAUSATION_ID, CAUSATION_SUBJECT

_rejection = msgspec.json.Decoder(CommandRejected)


class AnsweredRequests:
    """The requests in the history of one context. `add` takes its events in their order."""

    def __init__(self, routing: Routing) -> None:
        self._endpoints = routing.endpoints
        self._asked: dict[str, tuple[str, bytes, list[Event]]] = {}
        """(subject, content hash, events) by idempotency key."""

    def add(self, row: JournalRow, event: Event | None) -> None:
        """Remember the request that led to an event; `event` is None for one of the engine."""
        subject = row.headers.get(CAUSATION_SUBJECT, "")
        if event is None and row.type == CommandRejected.__name__:
            rejection = _rejection.decode(row.body)
            event = Rejected(reason=rejection.reason, details=rejection.details)
        if subject in self._endpoints and event is not None:
            content = bytes.fromhex(row.headers[CAUSATION_HASH])
            self._asked.setdefault(row.headers[CAUSATION_ID], (subject, content, []))[2].append(event)

    def rows(self) -> list[AnswerRow]:
        """The answers, by the functions of their endpoints."""
        return [
            answer_row(endpoint.operation, key, content, endpoint.answer(tuple(events)))
            for key, (subject, content, events) in self._asked.items()
            for endpoint in (self._endpoints[subject],)
        ]
