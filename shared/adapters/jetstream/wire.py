"""nats-py's messages, answers and errors in the words of the port."""

import contextlib
import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import nats.errors

from shared.adapters.jetstream.client import Heard
from shared.adapters.jetstream.denials import DeniedError
from shared.ports.broker import (
    BrokerDeniedError,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Delivery,
    Outgoing,
    Published,
    Stored,
)

TOO_LARGE = 10054
"""The JetStream API's code for a message that exceeds the bound of its stream; a connection has one as well."""

GONE = (nats.errors.Error, OSError, RuntimeError)
"""How it is told that a connection is not there any more; the last is uvloop's way."""


def to_delivery(heard: Heard) -> Delivery:
    _, sequence, consumer_sequence, at_ns, pending = heard.reply.rsplit(".", 4)
    return Delivery(
        sequence=int(sequence),
        consumer_sequence=int(consumer_sequence),
        at_ns=int(at_ns),
        pending=int(pending),
        subject=heard.subject,
        headers=heard.headers,
        body=heard.body,
        reply=heard.reply,
    )


def to_stored(heard: Heard) -> Stored:
    headers = heard.headers
    return Stored(
        int(headers["Nats-Sequence"]),
        _time(headers["Nats-Time-Stamp"]),
        headers["Nats-Subject"],
        headers,
        heard.body,
    )


def _time(text: str) -> datetime:
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)


def api_answer(data: bytes, subject: str = "") -> dict[str, Any]:
    """The JSON of an answer of the JetStream API; raises BrokerRefusedError about `subject` when it is an error."""
    if not data:
        raise BrokerUnavailableError("an empty answer where a PubAck was due")
    answer: dict[str, Any] = json.loads(data)
    if (error := answer.get("error")) is not None:
        code = error.get("err_code", error.get("code", 0))
        if error.get("code") == 503 and code != 10077:
            raise BrokerUnavailableError(f"{error.get('description', 'unavailable')} ({code})")
        raise BrokerRefusedError(code, error.get("description", "refused"), subject)
    return answer


def batch_of(messages: Sequence[Outgoing]) -> list[Outgoing]:
    batch_id = uuid.uuid4().hex
    marked = [
        Outgoing(subject, {**headers, "Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)}, body)
        for number, (subject, headers, body) in enumerate(messages, 1)
    ]
    marked[-1] = marked[-1]._replace(headers={**marked[-1].headers, "Nats-Batch-Commit": "1"})
    return marked


def to_published(answer: Heard | nats.errors.Error) -> Published | BrokerError:
    try:
        if isinstance(answer, nats.errors.Error):
            return translation(answer)
        said = api_answer(answer.body)
    except BrokerError as error:
        return error
    return Published(said["stream"], said["seq"], said.get("duplicate", False))


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise translation(error) from error


def translation(error: nats.errors.Error | OSError) -> BrokerError:
    if isinstance(error, nats.errors.MaxPayloadError):
        return BrokerRefusedError(TOO_LARGE, "the message is larger than the server takes (max_payload)")
    if isinstance(error, DeniedError):
        return BrokerDeniedError(str(error))
    return BrokerUnavailableError(str(error) or type(error).__name__)
