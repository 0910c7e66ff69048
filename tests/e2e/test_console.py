"""`chorus up --console` beside a real shop: login, every page, news over the wire, and the console's own errors."""

import http.cookiejar
import json
import re
import socket
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio

from shared.config.exit_codes import Exit
from tests.e2e.shop import as_variables
from tests.e2e.up import ORDER, Up, chorus_up, stock
from tests.forking import run_chorus
from tests.waiting import WITHIN_S


class Answer(NamedTuple):
    """An answer of the console."""

    status: int
    text: str


class Client:
    """A browser without scripts, over the network."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))

    async def get(self, path: str, *, part: bool = False) -> Answer:
        return await self._ask(path, None, {"HX-Request": "true"} if part else {})

    async def post(self, path: str, **fields: str) -> Answer:
        return await self._ask(path, urllib.parse.urlencode(fields).encode(), {})

    async def news(self) -> AsyncIterator[dict[str, float]]:
        """The news as the server sends them."""
        stream = await anyio.to_thread.run_sync(self._opener.open, f"{self.address}/live")
        with stream:
            while True:
                line = (await anyio.to_thread.run_sync(stream.readline, abandon_on_cancel=True)).decode()
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    async def until(self, path: str, words: str) -> Answer:
        """Load the content of a page until it says something."""
        with anyio.fail_after(WITHIN_S):
            while True:
                answer = await self.get(path, part=True)
                if words in answer.text:
                    return answer
                await anyio.sleep(0.1)

    async def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        request = urllib.request.Request(f"{self.address}{path}", body, headers)
        return await anyio.to_thread.run_sync(partial(self._read, request))

    def _read(self, request: urllib.request.Request) -> Answer:
        try:
            with self._opener.open(request, timeout=WITHIN_S) as answer:
                return Answer(answer.status, answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.read().decode())


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@asynccontextmanager
async def shop_with_console(data: Path, **settings: str) -> AsyncIterator[tuple[Up, str]]:
    """A shop that is ready, and the operator's link."""
    environ = as_variables({"console_port": str(free_port()), **settings})
    async with chorus_up(data, words=("--console",), cwd=None, **environ) as up:
        await up.ready()
        yield up, (await up.until("operator:", "#token=")).split()[-1]


async def test_console_shows_a_shop_and_hears_of_its_events(tmp_path: Path) -> None:
    async with shop_with_console(tmp_path) as (up, link):
        address, token = link.split("/login#token=")
        client = Client(address)
        assert (await client.get("/")).status == 401
        assert (await client.post("/login", token=token)).status == 200
        await stock(up)
        news = client.news()
        assert (await anext(news))["per_s"] >= 0
        await up.chorus("send", "ordering.PlaceOrder", "o-1", *ORDER, "--wait")
        with anyio.fail_after(WITHIN_S):
            async for said in news:
                if said["per_s"] > 0:
                    break
        await news.aclose()  # type: ignore[attr-defined]
        page = await client.until("/saga/o-1", "a command brings it on: shipping.ReportDelivered")
        message = re.findall(r'href="(/message/EVENTS/\d+)"', page.text)[0]
        for path in ("/", "/sagas", "/saga/o-1", message, "/parked", "/contexts", "/read-side",
                     "/search?text=ann", "/streams", "/flow", "/aggregates",
                     "/aggregate/ordering/order-o-1?at=1"):  # fmt: skip
            for part in (False, True):
                answer = await client.get(path, part=part)
                assert (path, answer.status) == (path, 200)
        assert "4 of 4 partitions have an owner" in (await client.get("/contexts", part=True)).text
        assert "as declared" in (await client.get("/streams", part=True)).text
        taken = await run_chorus("console", "--port", address.rpartition(":")[2], environ=up.environ)
        assert taken.code == Exit.USAGE
        assert "Address already in use; choose another with --host and --port" in taken.errors
        up.process.terminate()
        with anyio.fail_after(WITHIN_S):
            assert await up.process.wait() == 0
