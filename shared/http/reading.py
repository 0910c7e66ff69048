"""Reads a request within bounds: its body, the headers that count, and the key that the body names."""

import re
from typing import Any, Final

import anyio
import msgspec
from starlette.requests import Request

from shared.http.openapi import IDEMPOTENCY_KEY_LENGTH_AT_MOST
from shared.wire.bodies import BODY_BYTES_AT_MOST, BodyDecoder, MalformedBodyError
from shared.wire.messages import ACTING_FOR, IDEMPOTENCY_KEY, NEVER, check_actor, check_command_id, check_key

BODY_WITHIN_S: Final = 10.0
HEADER_BYTES_AT_MOST: Final = 16 * 1024
_JSON = re.compile(r"application/json\s*(;.*)?", re.IGNORECASE)


class RefusedError(Exception):
    """The request is answered with this status and an RFC 9457 problem; with `closes` the connection ends then."""

    def __init__(
        self, status: int, title: str, detail: str, path: str = "$", *, retry_after_s: int = 0, closes: bool = False
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.title = title
        self.path = path
        self.retry_after_s = retry_after_s
        self.closes = closes


def check_headers(request: Request) -> None:
    """Raise RefusedError when all headers together are too large; the server only bounds what it has not parsed yet."""
    if sum(len(name) + len(value) for name, value in request.headers.raw) > HEADER_BYTES_AT_MOST:
        raise RefusedError(431, "too large", f"headers have at most {HEADER_BYTES_AT_MOST} bytes", closes=True)


def read_idempotency_key(request: Request) -> str:
    """The one header; raises RefusedError."""
    given_keys = request.headers.getlist(IDEMPOTENCY_KEY)
    try:
        if len(given_keys) > 1:
            raise ValueError("the header comes twice")
        given = check_command_id(given_keys[0] if given_keys else "")
    except ValueError as error:
        raise RefusedError(400, "malformed", str(error), IDEMPOTENCY_KEY) from error
    if len(given) > IDEMPOTENCY_KEY_LENGTH_AT_MOST:
        problem = f"it has more than {IDEMPOTENCY_KEY_LENGTH_AT_MOST} characters"
        raise RefusedError(400, "malformed", problem, IDEMPOTENCY_KEY)
    return given


def read_actor(request: Request) -> str:
    """The one header `Acting-For`, or an empty text; raises RefusedError.

    With two, a proxy that adds the header has left that of its client.
    """
    given = request.headers.getlist(ACTING_FOR)
    try:
        if len(given) > 1:
            raise ValueError("the header comes twice; let the proxy replace the one of its client")
        return check_actor(given[0]) if given else ""
    except ValueError as error:
        raise RefusedError(400, "malformed", str(error), ACTING_FOR) from error


async def read_body(request: Request) -> bytes:
    """The body, read within bounds; raises RefusedError.

    A proxy in front may take another end of a body with two lengths, and the rest for a request of its next client.
    """
    if "content-length" in request.headers and "transfer-encoding" in request.headers:
        problem = "a body has one length: send Content-Length or Transfer-Encoding"
        raise RefusedError(400, "malformed", problem, "Content-Length", closes=True)
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


def decoded(decoder: BodyDecoder[Any], body: bytes, key: str) -> Any:
    """The body as the type of the decoder; raises RefusedError."""
    try:
        return decoder.decode(body, key=key, at=NEVER)
    except MalformedBodyError as error:
        raise RefusedError(400, "malformed", error.problem, error.path) from error


def key_in(body: bytes, field: str) -> str:
    """The key that a body names; empty when it names none. The decoder finds everything else that is wrong."""
    try:
        named = msgspec.json.decode(body, type=dict[str, msgspec.Raw]).get(field)
        return "" if named is None else check_key(msgspec.json.decode(named, type=str))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    except ValueError as error:
        raise RefusedError(400, "malformed", str(error), f"$.{field}") from error
