"""The door as an ASGI application: reads within bounds, checks, publishes, and answers with the PubAck.

Nothing is stored here. A client that got no answer sends the request again under the same `Idempotency-Key`.
"""

import math
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import anyio
import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from shared.http.door import CommandPath, Door, WebhookPath
from shared.http.openapi import openapi
from shared.http.rate import Rate
from shared.http.signature import HEADER, BadSignatureError, check_signature
from shared.ports.broker import Broker, BrokerError, BrokerRefusedError, Outgoing, Published
from shared.wire.bodies import BODY_BYTES_AT_MOST, BodyDecoder, MalformedBodyError, stamped_fields
from shared.wire.messages import (
    ACTING_FOR,
    IDEMPOTENCY_KEY,
    MSG_ID,
    NEVER,
    check_actor,
    check_command_id,
    check_key,
    command_subject,
    content_hash,
)
from shared.wire.trace_context import TRACEPARENT, parse_traceparent

BODY_WITHIN_S: Final = 10.0
RETRY_AFTER_S: Final = 5
PROBLEM: Final = "application/problem+json"
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)

Answering: TypeAlias = Callable[[Request], Awaitable[Response]]

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger("chorus.door")


class RefusedError(Exception):
    """The request is answered with this status and an RFC 9457 problem."""

    def __init__(self, status: int, title: str, detail: str, path: str = "$", retry_after_s: int = 0) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.path = path
        self.retry_after_s = retry_after_s


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
            body = await _body(request)
            try:
                message_id = check_command_id(request.headers.get(IDEMPOTENCY_KEY, ""))
                actor = check_actor(request.headers.get(ACTING_FOR, "")) if self._trusts_actor else ""
            except ValueError as error:
                raise RefusedError(400, "malformed", str(error), IDEMPOTENCY_KEY) from error
            # Without a key in the body, the same Idempotency-Key gives the same key.
            key = _key_in(body, key_field) or f"h-{content_hash(message_id.encode()).hex()}"
            _decoded(decoder, body, key)
            subject = command_subject(path.context, path.command.__name__, key)
            headers: dict[str, str] = {MSG_ID: message_id, **({ACTING_FOR: actor} if actor else {})}
            if trace := parse_traceparent(request.headers.get(TRACEPARENT, "")):
                headers[TRACEPARENT] = str(trace)
            return _stored(await self._publish(Outgoing(subject, headers, body)), key_field, key, message_id)

        return take

    def _hearing(self, path: WebhookPath) -> Answering:
        decoder: BodyDecoder[Any] = BodyDecoder(path.body, strict=True)

        async def hear(request: Request) -> Response:
            body = await _body(request)
            secrets = self._secrets.get(path.sender, ())
            if not secrets:
                raise RefusedError(503, "not set up", f"this door has no secret of {path.sender}", HEADER)
            try:
                check_signature(secrets, request.headers.get(HEADER, ""), body, self._now())
            except BadSignatureError as error:
                raise RefusedError(401, "not signed", str(error), HEADER) from error
            try:
                said = path.says(_decoded(decoder, body, ""))
                message_id = check_command_id(f"{path.sender}-{said.id}")
                subject = command_subject(said.context, type(said.command).__name__, said.key)
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
        except BrokerRefusedError as error:
            raise RefusedError(503, "refused", f"{error.text}; {again}", retry_after_s=RETRY_AFTER_S) from error
        except BrokerError as error:
            raise RefusedError(504, "unknown", f"{error}; {again}", retry_after_s=1) from error


async def _body(request: Request) -> bytes:
    """The body, read within bounds; raises RefusedError."""
    if _JSON.fullmatch(request.headers.get("content-type", "")) is None:
        raise RefusedError(415, "not JSON", "send Content-Type: application/json", "Content-Type")
    too_large = RefusedError(413, "too large", f"a body has at most {BODY_BYTES_AT_MOST} bytes")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 9 or int(length) > BODY_BYTES_AT_MOST):
        raise too_large
    read = bytearray()
    with anyio.move_on_after(BODY_WITHIN_S):
        async for chunk in request.stream():
            read += chunk
            if len(read) > BODY_BYTES_AT_MOST:
                raise too_large
        return bytes(read)
    raise RefusedError(408, "too slow", f"the body did not come within {BODY_WITHIN_S:g} s")


def _decoded(decoder: BodyDecoder[Any], body: bytes, key: str) -> Any:
    try:
        return decoder.decode(body, key=key, at=NEVER)
    except MalformedBodyError as error:
        raise RefusedError(400, "malformed", error.problem, error.path) from error


def _key_in(body: bytes, field: str) -> str:
    """The key that a body names; empty when it names none. The decoder finds everything else that is wrong."""
    try:
        named = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(field)
        return "" if named is None else check_key(msgspec.json.decode(named, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    except ValueError as error:
        raise RefusedError(400, "malformed", str(error), f"$.{field}") from error


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
    return Response(_encoder.encode(content), refused.status, headers, PROBLEM)
