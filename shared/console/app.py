"""Puts the pages together into one ASGI application, with the login, the news and the files that pages need."""

from collections.abc import AsyncIterator, Awaitable
from functools import cache, partial
from importlib.resources import files
from typing import Final

import msgspec
from markupsafe import Markup
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from shared.console.access import Person
from shared.console.console import Console
from shared.console.guard import Guard, RefusedError, action_of, form_of
from shared.console.live import Pulse, TooManyListenersError
from shared.console.pages import ACTIONS, PAGES
from shared.console.pages.page import Action, BadInputError, NothingThereError, Page, Values
from shared.console.render import render
from shared.ports.broker import BrokerError
from shared.ports.store import DatabaseBusyError, DatabaseError
from shared.wire.messages import MalformedKeyError, check_key

TYPES: Final = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
STATUSES: Final = {
    BadInputError: 400,
    NothingThereError: 404,
    DatabaseBusyError: 503,
    DatabaseError: 503,
    BrokerError: 503,
}
"""The errors that a page may answer with; any other is a bug, and a 500."""
SENT_WITHIN_S: Final = 30.0
"""A browser that takes no news for so long is disconnected."""

NOTHING: Final = Markup()


def application(console: Console) -> Starlette:
    """The application. Requires: the caller runs `console.tail`."""
    return Starlette(
        routes=[
            *(Route(page.path, partial(_show, console, page)) for page in PAGES),
            *(Route(action.path, partial(_act, console, action), methods=["POST"]) for action in ACTIONS),
            Route("/go", _go),
            Route("/live", partial(_live, console)),
            Route("/login", partial(_log_in, console), methods=["GET", "POST"]),
            Route("/logout", partial(_log_out, console), methods=["POST"]),
            Route("/static/{name}", _file),
        ],
        middleware=[
            Middleware(Guard, access=console.access, cookie=console.cookie, refuse=partial(_refuse, console)),
        ],
        exception_handlers={
            RefusedError: partial(_refused, console),
            404: partial(_not_found, console),
        },
    )


async def _show(console: Console, page: Page, request: Request) -> Response:
    """The content alone for htmx; else the whole page, which loads its content if it is live."""
    is_part = "hx-request" in request.headers
    title = page.title_of(request)
    if page.live and not is_part:
        try:
            head_values = {} if page.head_values is None else page.head_values(console, request)
        except BadInputError as error:
            content, status = _problem(error)
            return HTMLResponse(_whole(console, request, title, content=content), status)
        head = render(page.head, head_values) if page.head else NOTHING
        return HTMLResponse(_whole(console, request, title, head=head, page=page))
    content, status = await _rendered(console, request, page.template, page.content(console, request))
    return HTMLResponse(content if is_part else _whole(console, request, title, content=content), status)


async def _act(console: Console, action: Action, request: Request) -> Response:
    fields = await action_of(request, console.access)
    content, status = await _rendered(console, request, action.template, action.carry_out(console, request, fields))
    return HTMLResponse(_whole(console, request, action.title, content=content), status)


async def _rendered(console: Console, request: Request, template: str, values: Awaitable[Values]) -> tuple[Markup, int]:
    """The template with the values, or the problem that kept them away, and the status of either."""
    try:
        return render(template, {**await values, **_always(console, request)}), 200
    except Exception as raised:
        error: BaseException = raised
        while isinstance(error, BaseExceptionGroup):  # Of tasks that asked at the same time.
            error = error.exceptions[0]
        if not isinstance(error, tuple(STATUSES)):
            raise
        return _problem(error)


async def _live(console: Console, request: Request) -> Response:
    key = request.query_params.get("key", "")

    async def news(pulses: AsyncIterator[Pulse]) -> AsyncIterator[dict[str, str]]:
        async for pulse in pulses:
            said = {"per_s": round(pulse.per_s, 1), "left_out": pulse.left_out}
            yield {"event": "news", "data": msgspec.json.encode(said).decode()}

    try:
        pulses = console.tail.news(key)
    except TooManyListenersError as error:
        return Response(str(error), 503)
    return EventSourceResponse(news(pulses), send_timeout=SENT_WITHIN_S)


async def _go(request: Request) -> Response:
    """To the saga whose key was typed."""
    try:
        return RedirectResponse(f"/saga/{check_key(request.query_params.get('key', '').strip())}", 303)
    except MalformedKeyError as error:
        content, status = _problem(BadInputError(str(error)))
        return HTMLResponse(content, status)


async def _log_in(console: Console, request: Request) -> Response:
    if request.method == "GET":
        return HTMLResponse(render("login.html", {"problem": ""}))
    person = console.access.by_token((await form_of(request)).get("token", "").strip())
    if person is None:
        return HTMLResponse(render("login.html", {"problem": "This is not a token of this console."}), 401)
    response = RedirectResponse("/", 303)
    is_secure = request.url.scheme == "https"
    value = console.access.cookie(person)
    response.set_cookie(console.cookie, value, httponly=True, samesite="strict", secure=is_secure, path="/")
    return response


async def _log_out(console: Console, _: Request) -> Response:
    response = RedirectResponse("/login", 303)
    response.delete_cookie(console.cookie, httponly=True, samesite="strict", path="/")
    return response


async def _file(request: Request) -> Response:
    found = _files().get(request.path_params["name"])
    if found is None:
        return Response("there is no such file", 404)
    body, media_type = found
    return Response(body, media_type=media_type)


@cache
def _files() -> dict[str, tuple[bytes, str]]:
    """The files beside this module, which the program reads once."""
    found = (file for file in files("shared.console").joinpath("static").iterdir())
    return {
        file.name: (file.read_bytes(), TYPES[suffix])
        for file in found
        if (suffix := file.name.rpartition(".")[2]) in TYPES
    }


def _always(console: Console, request: Request) -> Values:
    """The values that every template may use."""
    person: Person | None = request.state.person
    return {
        "role": None if person is None else person.role,
        "person": "" if person is None else person.name,
        "form_token": "" if person is None else console.access.form_token(person),
        "now": console.sources.clock.now(),
    }


def _whole(
    console: Console,
    request: Request,
    title: str,
    *,
    content: Markup = NOTHING,
    head: Markup = NOTHING,
    page: Page | None = None,
) -> Markup:
    live = None if page is None else f"{request.url.path}{'?' if request.url.query else ''}{request.url.query}"
    values = {
        **_always(console, request),
        "title": title,
        "content": content,
        "head": head,
        "live": live,
        "key": request.path_params.get("key", "") if page is not None and page.keyed else "",
        "menu": [(one.path, one.menu) for one in PAGES if one.menu],
        "here": request.url.path,
    }
    return render("page.html", values)


def _problem(error: BaseException) -> tuple[Markup, int]:
    status = next(status for kind, status in STATUSES.items() if isinstance(error, kind))
    remedies = {
        DatabaseError: "The console reads the databases in CHORUS_DATA_DIR: start it where they are.",
        BrokerError: "The console tries again at each load: is the server running? chorus health",
    }
    remedy = next((text for kind, text in remedies.items() if isinstance(error, kind)), "")
    return render("problem.html", {"text": str(error), "remedy": remedy}), status


def _refuse(console: Console, request: Request, error: RefusedError) -> Response:
    del console
    if error.status == 401:
        redirect = {"HX-Redirect": "/login"} if "hx-request" in request.headers else None
        return HTMLResponse(render("login.html", {"problem": ""}), 401, headers=redirect)
    return HTMLResponse(render("problem.html", {"text": str(error), "remedy": ""}), error.status)


async def _refused(console: Console, request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return _refuse(console, request, error)


async def _not_found(console: Console, request: Request, _: Exception) -> Response:
    content = render("problem.html", {"text": f"There is no page {request.url.path}.", "remedy": ""})
    return HTMLResponse(_whole(console, request, "Not found", content=content), 404)
