"""Asks a context a question and waits for its answer, which may not come."""

from typing import Any, Final, TypeVar

import msgspec

from shared.inspect.patience import ANSWERED_WITHIN_S, Patience
from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, NoRespondersError

T = TypeVar("T")

_encoder: Final = msgspec.json.Encoder()


class NoAnswerError(Exception):
    """A context did not answer. `runs` tells whether a process of it is connected to the server."""

    def __init__(self, context: str, reason: str, *, runs: bool) -> None:
        super().__init__(f"{context} does not answer: {reason}")
        self.context = context
        self.reason = reason
        self.runs = runs


async def ask(
    broker: Broker,
    context: str,
    name: str,
    question: Any,
    answer: type[T],
    *,
    partition: int | None = None,
    service: str = "",
    patience: Patience | None = None,
    within_s: float = ANSWERED_WITHIN_S,
) -> T:
    """Ask `api.<context>.<name>` with a question that JSON can hold; raises NoAnswerError.

    `partition` is the one whose owner has to answer; without it, any process of the context does. `service` is the name
    under which a group answers. With `patience`, a context that was silent lately is waited for only briefly.
    """
    asked = service or context
    if patience is not None:
        within_s = patience.within_s(asked, partition, otherwise=within_s)
    try:
        headers, body = await broker.request(f"api.{context}.{name}", _encoder.encode(question), {}, within_s)
    except BrokerDeniedError:
        raise  # The context may well answer, but not to this user.
    except NoRespondersError as error:
        raise NoAnswerError(context, str(error), runs=False) from error
    except BrokerError as error:
        if patience is not None:
            patience.was_silent(asked, partition)
        raise NoAnswerError(context, str(error), runs=True) from error
    if patience is not None:
        patience.has_answered(asked, partition)
    if problem := headers.get("Nats-Service-Error"):
        raise NoAnswerError(context, problem, runs=True)
    try:
        return msgspec.json.decode(body, type=answer)
    except msgspec.DecodeError as error:
        raise NoAnswerError(context, f"its worker is of another release: {error}", runs=True) from error
