"""Commands by request and reply: checked before the stream stores them, and answered with their sequence in it.

`nats req api.CONTEXT.COMMAND '{…}'` gets in one round trip the refusal that `nats pub` learns from a later event.
"""

import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from shared.context import Answer, Command, Context, Endpoints, Request
from shared.ports.broker import Broker, BrokerRefusedError, BrokerUnavailableError, Outgoing
from shared.wire.bodies import BodyDecoder, MalformedBodyError, check_size
from shared.wire.messages import (
    ACTING_FOR,
    MSG_ID,
    NEVER,
    MalformedKeyError,
    check_actor,
    check_command_id,
    check_key,
    command_subject,
)
from shared.wire.trace_context import TRACEPARENT

_encoder = msgspec.json.Encoder()
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


def api_of(context: Context, broker: Broker) -> Endpoints:
    """One endpoint, `api.<context>.<Command>`, for each command that clients may send."""
    return {
        f"api.{context.name}.{command.__name__}": _endpoint(context.name, command, broker)
        for command in context.accepts
    }


def _endpoint(context: str, command: type[Command], broker: Broker) -> Callable[[Request], Awaitable[Answer]]:
    decoder: BodyDecoder[Any] = BodyDecoder(command, strict=True)
    name = command.__name__
    assert decoder.key_field is not None, f"{name} has no field for the key of its subject"
    key_field = decoder.key_field

    async def accept(request: Request) -> Answer:
        place = "$"
        try:
            check_size(request.body)
            key = _key(request.body, key_field)
            decoder.decode(request.body, key=key, at=NEVER)
            place = ACTING_FOR
            actor = check_actor(request.headers.get(ACTING_FOR, ""))
            place = MSG_ID
            headers: dict[str, str] = {
                MSG_ID: check_command_id(request.headers.get(MSG_ID) or f"api-{uuid.uuid4().hex}")
            }
            if actor:
                headers[ACTING_FOR] = actor
            if TRACEPARENT in request.headers:
                headers[TRACEPARENT] = request.headers[TRACEPARENT]
        except MalformedBodyError as error:
            return _problem(400, "malformed", error.problem, error.path)
        except MalformedKeyError as error:
            return _problem(400, "malformed", str(error), f"$.{key_field}")
        except ValueError as error:
            return _problem(400, "malformed", str(error), place)
        try:
            ack = await broker.publish(Outgoing(command_subject(context, name, key), headers, request.body))
        except BrokerRefusedError as error:
            return _problem(503, "refused", str(error), "$")
        except BrokerUnavailableError as error:
            return _problem(504, "unknown", f"{error}; ask again with the same {MSG_ID}", "$")
        return Answer(
            _encoder.encode(
                {
                    "accepted": True,
                    key_field: key,
                    "message_id": headers[MSG_ID],
                    "stream": ack.stream,
                    "seq": ack.sequence,
                    "duplicate": ack.duplicate,
                    "watch": f"evt.*.*.*.{key}",
                }
            )
        )

    return accept


def _key(body: bytes, field: str) -> str:
    """The key that the body names, or a new one."""
    try:
        fields: Mapping[str, msgspec.Raw] = _object.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise MalformedBodyError("$", f"not a JSON object that can be read: {error}") from error
    if field not in fields:
        return uuid.uuid4().hex
    try:
        return check_key(_text.decode(fields[field]))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedBodyError(f"$.{field}", str(error)) from error


def _problem(status: int, title: str, detail: str, path: str) -> Answer:
    """A refusal as RFC 9457 problem details."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail, "errors": [{"path": path}]}
    return Answer(_encoder.encode(body), error=(str(status), f"{title}: {detail}"[:200].replace("\n", " ")))
