"""The door as an ASGI application: reads within bounds, checks, publishes, and answers with the PubAck.

Nothing is stored here. A client that got no answer sends the request again under the same `Idempotency-Key`. Another
request under the same key is another command, which the context decides: nothing is dropped unread.
"""

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from shared.http.door import CommandPath, Door, WebhookPath
from shared.http.openapi import openapi
from shared.http.rate import Rate
from shared.http.reading import (
    RefusedError,
    check_headers,
    decoded,
    key_in,
    read_actor,
    read_body,
    read_idempotency_key,
)
from shared.ports.broker import Broker, BrokerDeniedError, BrokerError, BrokerRefusedError, Outgoing, Published
from shared.wire.bodies import BodyDecoder, stamped_fields
from shared.wire.messages import (
    ACTING_FOR,
    IDEMPOTENCY_KEY,
    MSG_ID,
    check_command_id,
    command_subject,
    content_hash,
)
from shared.wire.signature import HEADER, BadSignatureError, check_signature
from shared.wire.trace_context import TRACEPARENT, parse_traceparent

RETRY_AFTER_S: Final = 5
PROBLEM: Final = "application/problem+json"

Answering: TypeAlias = Callable[[Request], Awaitable[Response]]

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger("chorus.door")


class DoorApp:
    """Makes the application of a door. `secrets` are those of the senders of webhooks, the newest first."""

    def __init__(
        self,
        door: Door,
        broker: Broker,
        *,
        version: str,
        per_s: float,
        secrets: Mapping[str, Sequence[str]],
        trusts_actor: bool,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._broker = broker
        self._rate = Rate(per_s, time.monotonic)
        self._secrets = secrets
        self._trusts_actor = trusts_actor
        self._now = now
        description = _encoder.encode(openapi(door, version))
        routes = [
            Route("/openapi.json", self._constant(description, "application/json")),
            Route("/livez", self._constant(b"ok", "text/plain")),
            *(Route(one.path, self._guarded(self._taking(one)), methods=["POST"]) for one in door.commands),
            *(Route(one.path, self._guarded(self._hearing(one)), methods=["POST"]) for one in door.webhooks),
        ]
        self.asgi = Starlette(routes=routes)

    def _constant(self, body: bytes, media_type: str) -> Answering:
        async def answer(_: Request) -> Response:
            return Response(body, media_type=media_type)

        return answer

    def _guarded(self, answer: Answering) -> Answering:
        """Limit the rate, and turn every refusal into a problem; a fault of ours is logged and answered with 500."""

        async def guarded(request: Request) -> Response:
            try:
                wait_s = self._rate.wait_s(request.client.host if request.client else "")
                if wait_s:
                    raise RefusedError(429, "too many requests", "slow down", retry_after_s=math.ceil(wait_s))
                check_headers(request)
                return await answer(request)
            except RefusedError as refused:
                return _problem(refused)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception:
                _log.exception("request failed", path=request.url.path)
                return _problem(RefusedError(500, "fault", "the door failed; the log of its process says why"))

        return guarded

    def _taking(self, path: CommandPath) -> Answering:
        decoder: BodyDecoder[Any] = BodyDecoder(path.command, strict=True)
        key_field = stamped_fields(path.command)["key"]

        async def take(request: Request) -> Response:
            body = await read_body(request)
            idempotency_key = read_idempotency_key(request)
            actor = read_actor(request) if self._trusts_actor else ""
            # Without a key in the body, the same Idempotency-Key of the same actor gives the same key.
            key = key_in(body, key_field) or f"h-{_digest(idempotency_key, actor)}"
            command = decoded(decoder, body, key)
            subject = command_subject(path.context, path.command.__name__, key)
            # The stream drops a message under a known id unread. So the id tells apart the requests of two clients
            # under one Idempotency-Key, and no client can take the id of a webhook's message.
            message_id = f"{idempotency_key}:{_digest(subject, actor, command)}"
            headers: dict[str, str] = {MSG_ID: message_id, **({ACTING_FOR: actor} if actor else {})}
            if trace := parse_traceparent(request.headers.get(TRACEPARENT, "")):
                headers[TRACEPARENT] = str(trace)
            return _stored(await self._publish(Outgoing(subject, headers, body)), key_field, key, message_id)

        return take

    def _hearing(self, path: WebhookPath) -> Answering:
        decoder: BodyDecoder[Any] = BodyDecoder(path.body, strict=True)

        async def hear(request: Request) -> Response:
            body = await read_body(request)
            secrets = self._secrets.get(path.sender, ())
            if not secrets:
                raise RefusedError(503, "not set up", f"this door has no secret of {path.sender}", HEADER)
            try:
                check_signature(secrets, request.headers.get(HEADER, ""), body, self._now())
            except BadSignatureError as error:
                raise RefusedError(401, "not signed", str(error), HEADER) from error
            try:
                said = path.says(decoded(decoder, body, ""))
                subject = command_subject(said.context, type(said.command).__name__, said.key)
                # Another report under an id that the sender has used is decided, not dropped unread by the stream.
                message_id = check_command_id(f"{path.sender}-{said.id}:{_digest(subject, said.command)}")
            except ValueError as error:
                raise RefusedError(400, "malformed", str(error)) from error
            stamped = stamped_fields(type(said.command))
            key_field = stamped["key"]
            content = {
                name: value for name, value in msgspec.to_builtins(said.command).items() if name not in stamped.values()
            }
            content[key_field] = said.key
            message = Outgoing(subject, {MSG_ID: message_id}, _encoder.encode(content))
            return _stored(await self._publish(message), key_field, said.key, message_id)

        return hear

    async def _publish(self, message: Outgoing) -> Published:
        again = f"send it again under the same {IDEMPOTENCY_KEY}"
        try:
            return await self._broker.publish(message)
        except BrokerDeniedError as error:
            _log.error("permission missing", reason=str(error))
            raise RefusedError(500, "fault", "the door may not send this command; its log says why") from error
        except BrokerRefusedError as error:
            raise RefusedError(503, "refused", f"{error.text}; {again}", retry_after_s=RETRY_AFTER_S) from error
        except BrokerError as error:
            raise RefusedError(504, "unknown", f"{error}; {again}", retry_after_s=1) from error


def _digest(*parts: Any) -> str:
    return content_hash(_encoder.encode(parts)).hex()


def _stored(ack: Published, key_field: str, key: str, message_id: str) -> Response:
    content = {
        key_field: key,
        "message_id": message_id,
        "stream": ack.stream,
        "seq": ack.sequence,
        "duplicate": ack.duplicate,
        "watch": f"evt.*.*.*.{key}",
    }
    return Response(_encoder.encode(content), 200 if ack.duplicate else 202, media_type="application/json")


def _problem(refused: RefusedError) -> Response:
    content = {
        "type": "about:blank",
        "title": refused.title,
        "status": refused.status,
        "detail": str(refused)[:500],
        "errors": [{"path": refused.path}],
    }
    headers = {"Retry-After": str(refused.retry_after_s)} if refused.retry_after_s else {}
    if refused.closes:
        headers["Connection"] = "close"
    return Response(_encoder.encode(content), refused.status, headers, PROBLEM)
