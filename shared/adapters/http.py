"""Posts to an HTTP endpoint with httpx2: the Sender port. The extra `integration` has the package."""

from collections.abc import Mapping
from typing import Final

import anyio
import httpx2

from shared.config.secrets import without_password
from shared.ports.forwards import NoReplyError, Reply

CONNECTIONS_AT_MOST: Final = 32
ANSWER_BYTES_AT_MOST: Final = 64 * 1024
"""An answer is read, so that its connection can be used again; one that is longer ends its connection."""


class HttpSender:
    """One endpoint, and the connections to it. A redirect is not followed: the signed event is for this URL."""

    def __init__(self, url: str, *, timeout_s: float) -> None:
        self._url = url
        self._timeout_s = timeout_s
        limits = httpx2.Limits(max_connections=CONNECTIONS_AT_MOST, max_keepalive_connections=CONNECTIONS_AT_MOST)
        self._client = httpx2.AsyncClient(timeout=timeout_s, limits=limits, follow_redirects=False)

    async def send(self, headers: Mapping[str, str], body: bytes) -> Reply:
        try:
            with anyio.fail_after(self._timeout_s):
                return await self._post(headers, body)
        except TimeoutError as error:
            raise NoReplyError(f"no answer within {self._timeout_s:g} s") from error
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise NoReplyError(without_password(f"{type(error).__name__}: {error}".rstrip(": "))) from error

    async def close(self) -> None:
        await self._client.aclose()

    async def _post(self, headers: Mapping[str, str], body: bytes) -> Reply:
        async with self._client.stream("POST", self._url, headers=dict(headers), content=body) as response:
            left = ANSWER_BYTES_AT_MOST
            async for chunk in response.aiter_raw():
                left -= len(chunk)
                if left < 0:
                    break
            return Reply(response.status_code, _seconds(response.headers.get("retry-after", "")))


def _seconds(retry_after: str) -> float | None:
    """The header Retry-After in seconds; a date in it is left to our own delays."""
    return float(retry_after) if retry_after.isdecimal() and len(retry_after) < 9 else None
