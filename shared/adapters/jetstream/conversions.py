"""Converts nats-py's messages, answers and errors to those of the Broker port."""

import uuid
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final

import msgspec
import nats.errors

from shared.adapters.jetstream.client import LongSubjectError
from shared.adapters.jetstream.denials import DeniedError
from shared.adapters.jetstream.nats_py import CONNECTION_ERRORS, Received
from shared.ports.broker import (
    BrokerDeniedError,
    BrokerError,
    BrokerRefusedError,
    BrokerUnavailableError,
    Delivery,
    NoRespondersError,
    Published,
    Stored,
)
from shared.wire.streams import SUBJECT_BYTES_AT_MOST

TOO_LARGE = 10054
"""The JetStream API's code for a message above its stream's `max_msg_size`; used for the connection's bound as well."""


def to_delivery(received: Received) -> Delivery:
    _, sequence, consumer_sequence, at_ns, pending = received.reply.rsplit(".", 4)
    return Delivery(
        sequence=int(sequence),
        consumer_sequence=int(consumer_sequence),
        at_ns=int(at_ns),
        pending=int(pending),
        subject=received.subject,
        headers=received.headers,
        body=received.body,
        reply=received.reply,
    )


def to_stored(received: Received) -> Stored:
    headers = received.headers
    return Stored(
        int(headers["Nats-Sequence"]),
        _to_time(headers["Nats-Time-Stamp"]),
        headers["Nats-Subject"],
        headers,
        received.body,
    )


def _to_time(text: str) -> datetime:
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)


def api_answer(data: bytes, subject: str = "") -> dict[str, Any]:
    """Parse an answer of the JetStream API; raises BrokerRefusedError about `subject` when it is an error."""
    if not data:
        raise BrokerUnavailableError("the answer is empty instead of a PubAck")
    answer: dict[str, Any] = msgspec.json.decode(data)
    if (error := answer.get("error")) is not None:
        code = error.get("err_code", error.get("code", 0))
        if error.get("code") == 503 and code != 10077:
            raise BrokerUnavailableError(f"{error.get('description', 'unavailable')} ({code})")
        raise BrokerRefusedError(code, error.get("description", "refused"), subject)
    return answer


def batch_headers(count: int) -> list[dict[str, str]]:
    """The additional headers of the messages of one atomic batch (ADR-50); the last message commits it."""
    batch_id = uuid.uuid4().hex
    headers = [{"Nats-Batch-Id": batch_id, "Nats-Batch-Sequence": str(number)} for number in range(1, count + 1)]
    headers[-1]["Nats-Batch-Commit"] = "1"
    return headers


def to_published(answer: Received | nats.errors.Error) -> Published | BrokerError:
    try:
        if isinstance(answer, nats.errors.Error):
            return to_port_error(answer)
        ack = api_answer(answer.body)
    except BrokerError as error:
        return error
    return Published(ack["stream"], ack["seq"], ack.get("duplicate", False))


class _PortErrors:
    def __enter__(self) -> None:
        pass

    def __exit__(
        self, _type: type[BaseException] | None, error: BaseException | None, _at: TracebackType | None
    ) -> None:
        if isinstance(error, CONNECTION_ERRORS):
            raise to_port_error(error) from error


PORT_ERRORS: Final = _PortErrors()
"""A context manager that raises nats-py's errors as those of the port. Each publication enters it, and a generator
would cost more."""


def to_port_error(error: Exception) -> BrokerError:
    if isinstance(error, LongSubjectError):
        return BrokerRefusedError(TOO_LARGE, f"the subject is longer than {SUBJECT_BYTES_AT_MOST} bytes")
    if isinstance(error, nats.errors.MaxPayloadError):
        return BrokerRefusedError(TOO_LARGE, "the message is larger than the server's max_payload")
    if isinstance(error, DeniedError):
        return BrokerDeniedError(str(error), error.denial)
    if isinstance(error, nats.errors.NoRespondersError):
        return NoRespondersError(str(error))
    return BrokerUnavailableError(str(error) or type(error).__name__)
