"""Every page of the console in a real Chromium: accessible, dark and light, on a phone, by keyboard, live, offline.

The test makes the pictures of docs/console.md when CHORUS_SCREENSHOTS names the directory for them. It needs the group
`browser` and Debian's chromium; with CHORUS_REQUIRE_BROWSER their absence is a failure.
"""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import pytest_asyncio

from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.ports.rows import ParkedRow
from shared.repair.parked import transact
from shared.wire.messages import partition_of
from tests.e2e.test_console import shop_with_console
from tests.e2e.up import ORDER, Up, stock
from tests.waiting import WITHIN_S

CHROMIUM = shutil.which("chromium")
REQUIRED = bool(os.environ.get("CHORUS_REQUIRE_BROWSER"))
PICTURES = os.environ.get("CHORUS_SCREENSHOTS", "")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
PAGES = {
    "overview": "/",
    "sagas": "/sagas?saga=order",
    "search": "/search?text=ann+bern",
    "saga": "/saga/o-1",
    "stuck": "/saga/o-slow",
    "message": "",
    "parked": "/parked",
    "parked-one": "/parked/support/1",
    "contexts": "/contexts",
    "read-side": "/read-side",
    "streams": "/streams",
    "flow": "/flow?saga=order",
    "aggregates": "/aggregates?kind=ordering/order",
    "aggregate": "/aggregate/ordering/order-o-1",
}
"""The page of each name; that of a message is found on the page of its saga."""
DESK = {"width": 1280, "height": 900}
PHONE = {"width": 360, "height": 740}
IN_DOCS = ("overview", "stuck", "saga", "phone", "contexts", "read-side", "flow", "parked-one", "aggregate")
DARK_PICTURES = ("saga",)
"""These pictures show the dark scheme."""

pytestmark = [pytest.mark.long, pytest.mark.asyncio(loop_scope="module")]

if not REQUIRED:
    pytest.importorskip("playwright", reason="uv run --group browser installs it")
    pytest.importorskip("axe_playwright_python", reason="uv run --group browser installs it")
    if CHROMIUM is None:
        pytest.skip("there is no chromium; apt-get install chromium", allow_module_level=True)


class Tab:
    """A tab of a browser with a login. `problems` are the errors in its console, `strangers` its requests elsewhere."""

    def __init__(self, page: Any, address: str) -> None:
        self.page = page
        self.address = address
        self.problems: list[str] = []
        self.strangers: list[str] = []
        page.on("console", lambda said: self.problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", self._note)

    def _note(self, request: Any) -> None:
        if not request.url.startswith((self.address, "data:")):
            self.strangers.append(request.url)

    async def open(self, path: str) -> None:
        """Load a page, and wait until it has its content."""
        await self.page.goto(self.address + path)
        await self.page.wait_for_selector("#content .waiting", state="detached")

    async def text(self) -> str:
        """The text of the page."""
        return str(await self.page.inner_text("body"))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Up, str]]:
    """A shop with an order that is shipped, one whose bank is slow, an account, and a parked message."""
    data = tmp_path_factory.mktemp("browser")
    async with shop_with_console(data, bank_slow="1h", effect_timeout="1h") as (up, link):
        await stock(up)
        await up.chorus("send", "ordering.PlaceOrder", "o-1", *ORDER, "--wait")
        slow = [word.replace("tok_ok", "tok_slow") for word in ORDER]
        await up.chorus("send", "ordering.PlaceOrder", "o-slow", *slow, "--wait")
        row = ParkedRow(
            "o-9", partition_of("o-9", 4), "EVENTS", 1, 1_790_000_000_000_000_000, "ordering/order-o-9@1",
            "evt.ordering.OrderPlaced.0.o-9", {"Nats-Msg-Id": "ordering/order-o-9@1"}, b'{"total": 250}',
            "Traceback (most recent call last):\n  …\nValueError: a test message",
        )  # fmt: skip
        await transact(SqliteDatabases(data), "support", lambda transaction: transaction.parked.park([row]))
        yield up, link


@asynccontextmanager
async def tab(link: str, **context: Any) -> AsyncIterator[Tab]:
    """A new browser that has followed the operator's link."""
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = await (await browser.new_context(**context)).new_page()
        page.set_default_timeout(15_000)
        opened = Tab(page, link.partition("/login")[0])
        await page.goto(link)
        await page.wait_for_url(f"{opened.address}/")
        yield opened
        assert opened.problems == []
        assert opened.strangers == []
        await browser.close()


async def path_of(opened: Tab, name: str) -> str:
    if name != "message":
        return PAGES[name]
    await opened.open("/saga/o-1")
    return str(await opened.page.get_attribute('.tree a[href^="/message/EVENTS"]', "href"))


async def test_every_page_is_accessible_in_the_light_and_in_the_dark_and_fits_a_phone(shop: tuple[Up, str]) -> None:
    _, link = shop
    async with tab(link, viewport=DESK) as opened:
        page = opened.page
        for name in PAGES:
            await opened.open(await path_of(opened, name))
            for part in await page.query_selector_all("details"):
                await part.evaluate("part => { part.open = true; }")
            assert (name, await violations(page)) == (name, [])
            if name not in DARK_PICTURES:
                await picture(page, name)
            await page.emulate_media(color_scheme="dark")
            assert (name, await violations(page, "color-contrast")) == (name, [])
            if name in DARK_PICTURES:
                await picture(page, name)
            await page.emulate_media(color_scheme="light")
            await page.set_viewport_size(PHONE)
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert (name, width <= PHONE["width"]) == (name, True), width
            if name == "stuck":
                await picture(page, "phone")
            await page.set_viewport_size(DESK)


async def violations(page: Any, *rules: str) -> list[tuple[str, str, str]]:
    """The findings of axe by these rules, or else by all of them."""
    from axe_playwright_python.async_playwright import Axe

    options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = (await Axe().run(page, options=options)).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"]) for one in found]


async def picture(page: Any, name: str) -> None:
    if PICTURES and name in IN_DOCS:
        await page.screenshot(path=Path(PICTURES) / f"console-{name}.png")


async def test_page_changes_by_itself_and_stands_still_while_it_is_paused(shop: tuple[Up, str]) -> None:
    up, link = shop
    async with tab(link) as opened:
        await opened.open("/sagas?saga=order")
        await up.chorus("send", "ordering.PlaceOrder", "o-live", *ORDER, "--wait")
        await opened.page.wait_for_selector("#saga-o-live")
        await opened.page.click("#pause")
        assert await opened.page.get_attribute("#pause", "aria-pressed") == "true"
        await up.chorus("send", "ordering.PlaceOrder", "o-paused", *ORDER, "--wait")
        async with opened.page.expect_response(lambda answer: "/sagas" in answer.url):
            assert await opened.page.query_selector("#saga-o-paused") is None
            await opened.page.click("#pause")
        await opened.page.wait_for_selector("#saga-o-paused")


async def test_keyboard_reaches_everything_and_the_focus_stays_when_the_content_is_loaded_again(
    shop: tuple[Up, str],
) -> None:
    _, link = shop
    async with tab(link) as opened:
        page = opened.page
        await opened.open("/saga/o-1")
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.textContent") == "Skip to the content"
        await page.focus("#message-2")
        async with page.expect_response(lambda answer: answer.url.endswith("/saga/o-1")):
            await page.evaluate("htmx.trigger(document.body, 'news')")
        await page.wait_for_selector("#message-2:focus")
        await page.keyboard.press("Enter")
        await page.wait_for_selector("#message pre")
        assert re.search(r"Nats-Msg-Id\s+ordering/order-o-1@1", await opened.text())
        await opened.open("/aggregate/ordering/order-o-1")
        latest = int(await page.get_attribute("#at", "max"))
        await page.focus("#at")
        await page.keyboard.press("ArrowLeft")
        await page.wait_for_selector(f"text=Version {latest - 1} of {latest}")
        await page.keyboard.press("ArrowLeft")
        await page.wait_for_selector(f"text=Version {latest - 2} of {latest}")


async def test_stuck_order_leads_the_overview_and_its_page_names_the_cause(shop: tuple[Up, str]) -> None:
    _, link = shop
    async with tab(link) as opened:
        await opened.open("/")
        await opened.page.wait_for_selector("#saga-o-slow", timeout=30_000)  # An answer is late after ten seconds.
        await opened.page.click("#saga-o-slow")
        await opened.page.wait_for_selector(".why.trouble")
        assert "o-slow waits: payments" in await opened.text()


async def test_operator_skips_a_parked_message_with_a_reason(shop: tuple[Up, str]) -> None:
    _, link = shop
    async with tab(link) as opened:
        page = opened.page
        await opened.open("/parked")
        await page.click("text=support/1")
        await page.click("text=Skip for good")
        assert await page.evaluate("document.activeElement.id") == "why"  # The browser asks for a reason.
        await page.fill("#why", "a test message")
        await page.click("text=Skip for good")
        await page.wait_for_selector("[role=status]")
        assert "a test message" in await opened.text()
        with anyio.fail_after(WITHIN_S):
            await opened.open("/parked")
            await page.wait_for_selector("text=Nothing is parked.")
