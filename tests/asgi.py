"""Requests to an ASGI application without a server between."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec


class Said(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)


async def ask(
    app: Any,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    method: str = "POST",
    client: str = "192.0.2.1",
    chunks: int = 1,
) -> Said:
    """Send one request, its body in several chunks, and collect the answer."""
    given = {"content-type": "application/json", **(headers or {})}
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in given.items()],
        "client": (client, 1),
        "server": ("testserver", 80),
    }
    size = max(1, -(-len(body) // chunks))
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not parts:
            return {"type": "http.disconnect"}
        part = parts.pop(0)
        return {"type": "http.request", "body": part, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return Said(start["status"], answered, b"".join(part.get("body", b"") for part in rest))
