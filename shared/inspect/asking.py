"""Asks a context a question and waits for its answer, which may not come."""

from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, NoRespondersError

ANSWERED_WITHIN_S: Final = 0.7
"""A context answers within milliseconds; a tool answers within a second, also when a context is frozen."""

T = TypeVar("T", bound=Struct)

_encoder = msgspec.json.Encoder()


class NoAnswerError(Exception):
    """A context did not answer. `runs` tells whether a process of it is connected to the server."""

    def __init__(self, context: str, reason: str, *, runs: bool) -> None:
        super().__init__(f"{context} does not answer: {reason}")
        self.context = context
        self.reason = reason
        self.runs = runs


async def ask(
    broker: Broker, context: str, name: str, question: Struct, answer: type[T], *, within_s: float = ANSWERED_WITHIN_S
) -> T:
    """Ask `api.<context>.<name>`; raises NoAnswerError."""
    try:
        headers, body = await broker.request(f"api.{context}.{name}", _encoder.encode(question), {}, within_s)
    except BrokerDeniedError:
        raise  # The context may well answer, but not to this user.
    except BrokerError as error:
        raise NoAnswerError(context, str(error), runs=not isinstance(error, NoRespondersError)) from error
    if problem := headers.get("Nats-Service-Error"):
        raise NoAnswerError(context, problem, runs=True)
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as error:
        raise NoAnswerError(context, f"its worker is of another release: {error}", runs=True) from error
