"""Runs one context on one message with pure functions: read, decide, and have the bank answer a call."""

from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from contexts.bank.settings import BankSettings
from contexts.bank.worker import context as bank_context
from shared.context import Aggregate, Asked, Context, Decider, Rejected
from shared.wire.bodies import BodyDecoder

BANK = bank_context(BankSettings())
ENDPOINTS = {endpoint.subject: endpoint for endpoint in BANK.endpoints}
NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


class BankCall:
    """A call to the bank, which answers at once."""

    idempotency_key = "k-1"
    attempt = 1
    now = NOW

    def __init__(self, states: Mapping[str, Any]) -> None:
        self.states = dict(states)
        """The bank's aggregates by id."""

    async def request(self, subject: str, body: bytes, headers: Mapping[str, str]) -> tuple[Mapping[str, str], bytes]:
        del headers
        endpoint = ENDPOINTS[subject]
        command = endpoint.asks(msgspec.json.decode(body, type=endpoint.request))
        (decider,) = [one for one in BANK.deciders if type(command) in one.commands]
        events = decided(decider, command, self.states)
        for event in events:
            aggregate = aggregate_of(BANK, event)
            identity = aggregate.id_of(event)
            self.states[identity] = aggregate.evolve(state_of(self.states, aggregate, identity), event)
        return {}, msgspec.json.encode(endpoint.answer(tuple(events)))


class AlsoRead(dict[Asked, Any]):
    """The other aggregates that a decision may read."""

    def __init__(self, states: Mapping[str, Any], aggregate: Aggregate) -> None:
        super().__init__()
        self._states, self._aggregate = states, aggregate

    def __missing__(self, asked: Asked) -> Any:
        return state_of(self._states, self._aggregate, self._aggregate.id_from(asked))


def decided(decider: Decider, command: Struct, states: Mapping[str, Any]) -> list[Any]:
    """The events of a command, refusals left out."""
    state = state_of(states, decider.aggregate, decider.aggregate.id_of(command))
    also_read = [AlsoRead(states, reads.aggregate) for reads in decider.also_reads]
    return [event for event in decider.decide(command, state, *also_read) if not isinstance(event, Rejected)]


def state_of(states: Mapping[str, Any], aggregate: Aggregate, identity: str) -> Any:
    """An aggregate as it is now."""
    return states.get(identity, aggregate.state())


def aggregate_of(context: Context, event: Any) -> Aggregate:
    """The aggregate that an event belongs to."""
    (aggregate,) = [aggregate for aggregate in context.aggregates if type(event) in aggregate.events]
    return aggregate


def as_read(view: type[Struct], event: Any) -> Any:
    """The event as a reader decodes it."""
    decoder = BodyDecoder(view, strict=False)
    return decoder.decode(msgspec.json.encode(event), key=getattr(event, decoder.key_field or "", ""), at=NOW)


def result_of(call: Awaitable[Struct]) -> Struct:
    """The result of a call that never waits."""
    try:
        call.__await__().send(None)
    except StopIteration as done:
        outcome: Struct = done.value
        return outcome
    raise AssertionError("a call waited for something")
