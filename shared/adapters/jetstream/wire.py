"""nats-py's messages, answers and errors in the words of the port."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from shared.ports import BrokerRefusedError, BrokerUnavailableError, Delivery, Stored


class FastClient(Client):
    """nats-py's client, reading headers 3 times faster: they were a seventh of a worker's time."""

    @staticmethod
    def _parse_header_lines(raw: bytes) -> dict[str, str]:
        found = {}
        for line in raw.decode("utf-8", "replace").split("\r\n"):
            name, colon, value = line.partition(":")
            if colon:
                found[name.strip()] = value.strip()
        return found


def to_delivery(message: Msg, headers: Mapping[str, str]) -> Delivery:
    tokens = message.reply.rsplit(".", 6)
    return Delivery(
        sequence=int(tokens[-4]),
        consumer_sequence=int(tokens[-3]),
        at_ns=int(tokens[-2]),
        pending=int(tokens[-1]),
        subject=message.subject,
        headers=headers,
        body=message.data,
        reply=message.reply,
    )


def to_stored(message: Msg, headers: Mapping[str, str]) -> Stored:
    return Stored(
        int(headers["Nats-Sequence"]),
        _time(headers["Nats-Time-Stamp"]),
        headers["Nats-Subject"],
        headers,
        message.data,
    )


def _time(text: str) -> datetime:
    whole, _, fraction = text.rstrip("Z").partition(".")
    return datetime.fromisoformat(whole).replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)


def api_answer(data: bytes) -> dict[str, Any]:
    if not data:
        raise BrokerUnavailableError("an empty answer where a PubAck was due")
    answer: dict[str, Any] = json.loads(data)
    if (error := answer.get("error")) is not None:
        code = error.get("err_code", error.get("code", 0))
        if error.get("code") == 503 and code != 10077:
            raise BrokerUnavailableError(f"{error.get('description', 'unavailable')} ({code})")
        raise BrokerRefusedError(code, error.get("description", "refused"))
    return answer


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except (nats.errors.Error, OSError) as error:
        raise BrokerUnavailableError(str(error) or type(error).__name__) from error
