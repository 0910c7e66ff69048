"""Stands before every page: lets in those who have a cookie, refuses forms of other sites, and sets safe headers.

One wrapper around the whole application, so a page that is added later is guarded too.
"""

import base64
import hashlib
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.console.access import Access, Person
from shared.flow.drawing.picture import STYLE

LOGIN: Final = "/login"
FILES: Final = "/static/"
FORM_BYTES_AT_MOST: Final = 16 * 1024
FORM_FIELDS_AT_MOST: Final = 20

_PICTURES = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; form-action 'self';"
        f" style-src 'self' 'sha256-{_PICTURES}'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # With `no-referrer`, browsers call the origin of our own forms `null`.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Vary": "HX-Request, Cookie",
}
"""Only scripts and styles of this console run, also when a message that is shown tries to bring one."""


class RefusedError(Exception):
    """The request is refused, with an HTTP status: 401 without a login, 403 for a form of another site."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Guard:
    """The wrapper. It puts the person into `request.state.person`, None without a login; `refuse` answers."""

    def __init__(
        self, app: ASGIApp, access: Access, cookie: str, refuse: Callable[[Request, RefusedError], Response]
    ) -> None:
        self._app = app
        self._refuse = refuse
        self._access = access
        self._cookie = cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = cookie_parser(headers.get("cookie", "")).get(self._cookie, "")
        person = self._access.by_cookie(given)
        is_open = scope["path"] == LOGIN or scope["path"].startswith(FILES)
        refused: RefusedError | None = None
        if scope["method"] not in ("GET", "HEAD") and not is_same_origin(headers):
            refused = RefusedError(403, "the form came from another site")
        elif person is None and not is_open:
            refused = RefusedError(401, "log in with the token that chorus console has printed")
        scope.setdefault("state", {})["person"] = person

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                set_headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    set_headers[name] = value
            await send(message)

        app = self._app if refused is None else self._refuse(Request(scope), refused)
        await app(scope, receive, send_safely)


def is_same_origin(headers: Headers) -> bool:
    """Whether a browser sent the request for one of our own pages. A client that is no browser names no origin."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form of at most FORM_BYTES_AT_MOST; raises RefusedError."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES_AT_MOST:
            raise RefusedError(413, f"a form has at most {FORM_BYTES_AT_MOST} bytes")
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS_AT_MOST)
    except ValueError as error:
        raise RefusedError(400, "the form cannot be read") from error
    return {name: values[-1] for name, values in fields.items()}


async def action_of(request: Request, access: Access) -> dict[str, str]:
    """The fields of a form with which an operator acts; raises RefusedError for anybody and anything else."""
    person: Person | None = request.state.person
    fields = await form_of(request)
    if person is None or not access.is_own_form(person, fields.get("form_token", "")):
        raise RefusedError(403, "the form is not from this console, or the console was restarted: load the page again")
    if person.role != "operator":
        raise RefusedError(403, "only an operator may do this: log in with the operator's token")
    return fields
