"""A browser for the console's application, without a network: it keeps cookies and sends forms as a browser does."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode, urlsplit

from starlette.types import ASGIApp

from shared import catalog
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.console.access import Access, Person, Role
from shared.console.app import application
from shared.console.console import Console
from shared.console.sources import Sources
from shared.inspect.saga_reader import SagaReader
from shared.simulation.testing import Simulation

T = TypeVar("T")

HOST = "127.0.0.1:4280"


class Page(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    text: str


class Browser:
    """One browser. `origin` is the site whose pages it shows, which its forms name."""

    def __init__(self, app: ASGIApp, *, origin: str = f"http://{HOST}") -> None:
        self._app = app
        self._origin = origin
        self.cookies: dict[str, str] = {}

    async def get(self, url: str, *, part: bool = False) -> Page:
        """Load a page, or with `part` what htmx loads of it."""
        return await self._ask("GET", url, {"hx-request": "true"} if part else {})

    async def post(self, url: str, fields: Mapping[str, str], *, headers: Mapping[str, str] = {}) -> Page:
        """Send a form."""
        own = {"content-type": "application/x-www-form-urlencoded", "origin": self._origin}
        return await self._ask("POST", url, {**own, **headers}, urlencode(fields).encode())

    async def log_in(self, token: str) -> Page:
        """Log in with a token."""
        return await self.post("/login", {"token": token})

    async def _ask(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Page:
        parts = urlsplit(url)
        sent = {"host": HOST, **headers}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": parts.path,
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 50000),
            "server": ("127.0.0.1", 4280),
        }
        received: list[Any] = []
        requests = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return requests.pop(0) if requests else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            received.append(message)

        await self._app(scope, receive, send)
        start = received[0]
        answered = {name.decode(): value.decode() for name, value in start["headers"]}
        if cookie := answered.get("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        text = b"".join(message.get("body", b"") for message in received[1:]).decode()
        return Page(start["status"], answered, text)


async def on_the_spot(work: Callable[[], T], /) -> T:
    """Run the work here: in virtual time there are no threads."""
    return work()


def console_of(running: Simulation, *, differing: Sequence[str] = (), people: Sequence[Person] = ()) -> Console:
    """A console beside a system in memory; `differing` are the lines that `chorus streams plan` would print."""
    world = running._world
    databases = SqliteDatabases(running.directory)

    async def differences() -> Sequence[str]:
        return differing

    sources = Sources(
        settings=world.settings,
        broker=running._broker,
        databases=databases,
        clock=world.clock,
        reader=SagaReader(world.settings, databases, world.clock),
        journals=catalog.names(),
        nats=lambda *words: shlex.join(["nats", *words]),
        differences=differences,
        offload=on_the_spot,
    )
    return Console(sources, Access(people))


class Visit:
    """A browser with a login at a console beside a system in memory."""

    def __init__(self, running: Simulation, role: Role = "operator", *, people: Sequence[Person] = ()) -> None:
        self.console = console_of(running, people=people)
        self.browser = Browser(application(self.console))
        self.running = running
        self.log_in(role)

    def log_in(self, role: Role) -> None:
        """Log in with the token of a role."""
        person = self.console.access.of_role(role)
        assert self.running.run(self.browser.log_in(person.token)).status == 303

    def get(self, url: str) -> Page:
        """The whole page."""
        return self.running.run(self.browser.get(url))

    def part(self, url: str) -> Page:
        """The content that a live page loads."""
        return self.running.run(self.browser.get(url, part=True))

    def post(self, url: str, **fields: str) -> Page:
        """Send a form of a page of this console."""
        person = self.console.access.by_cookie(self.browser.cookies.get(self.console.cookie, ""))
        form_token = "" if person is None else self.console.access.form_token(person)
        return self.running.run(self.browser.post(url, {"form_token": form_token, **fields}))
