"""Every command of the pages that uses `nats` runs as it is printed, on real processes.

tests/e2e/test_ledger_page.py and tests/integration/test_docs_consumers.py hold the two pages whose output counts.
"""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
import pytest_asyncio

from shared.run.server import local_server
from tests.architecture.pages import DOCS, PAGES, README, ROOT, Page
from tests.e2e.shop import NATS_CLI, Shop, opened
from tests.waiting import WITHIN_S

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.long,
    pytest.mark.skipif(NATS_CLI is None, reason="there is no nats command on the PATH; .ci/run builds it"),
]

HELD_ELSEWHERE = ("docs/ledger.md", "docs/consumers.md")
WITH_USERS = "docs/access.md"
STEP = re.compile(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", re.MULTILINE)
IN_A_SENTENCE = re.compile(r"`(nats req [^`]+ '[^`]*')`")
WITHOUT_END = re.compile(r" watch | sub (?!.*--terminate-at-end)")
FAILED = re.compile("nats: error|Nats-Service-Error")
LOOK_AGAIN_S = 0.05


class Step(NamedTuple):
    """A command, and the output that the page shows."""

    command: str
    shown: str


def steps(page: Page) -> Iterator[Step]:
    """The commands of a page that use `nats`, and those that write the files for them."""
    for block in page.blocks("console"):
        for command, shown in STEP.findall(block.replace("\\\n", "")):
            if command.endswith("<<'END'"):
                yield Step(f"{command}\n{shown}", "")
            elif command.startswith("nats "):
                yield Step(command, shown)
    yield from (Step(line, "") for line in "".join(page.blocks("sh")).splitlines() if line.startswith("nats "))
    yield from (Step(command, "") for command in IN_A_SENTENCE.findall(page.prose))


async def run(command: str, directory: Path, environ: dict[str, str]) -> tuple[int, str]:
    """Run a command to its end, or to its first lines where it has none: its exit code and its output."""
    process = await asyncio.create_subprocess_exec(
        *("bash", "-c", command if "<<" in command else f"exec {command}"),
        cwd=directory,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    if not WITHOUT_END.search(command):
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()
    try:
        first = await process.stdout.readline()
    finally:
        process.terminate()
    await process.communicate()
    return 0, first.decode()


async def type_in(step: Step, directory: Path, environ: dict[str, str]) -> None:
    """Type a command until it succeeds, or fails as the page shows: the read side is behind for a moment."""
    said = (-1, "")
    with anyio.move_on_after(WITHIN_S):
        while True:
            said = await run(step.command, directory, environ)
            failed = said[0] != 0 or FAILED.search(said[1]) is not None
            if failed is (FAILED.search(step.shown) is not None):
                return
            await anyio.sleep(LOOK_AGAIN_S)
    raise AssertionError((step.command, *said))


@pytest_asyncio.fixture(loop_scope="session")
async def open_shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A shop of its own whose server has no users."""
    async with opened(Shop, tmp_path, secure=False) as shop:
        yield shop


async def test_commands_run_as_they_are_printed(open_shop: Shop, tmp_path: Path) -> None:
    environ = {**os.environ, **open_shop.environ}
    first = (README, DOCS["tutorial"])
    canvases = [Page(path) for path in sorted(ROOT.glob("contexts/*/README.md"))]
    others = [one for one in (*PAGES, *canvases) if one not in first and one.name not in (*HELD_ELSEWHERE, WITH_USERS)]
    typed = [step for page in (*first, *others) for step in steps(page)]
    assert len(typed) > 50
    async with local_server(tmp_path / "second") as second:
        for step in typed:
            restores = step.command.startswith("nats stream restore ")
            await type_in(step, tmp_path, {**environ, "NATS_URL": second.url} if restores else environ)
            if "RegisterStockItem" in step.command:
                await open_shop.until("apple", "PriceListed")  # A reader types the next command later than this.


async def test_commands_of_the_page_about_users_run_as_they_are_printed(tmp_path: Path) -> None:
    async with opened(Shop, tmp_path, secure=True) as shop:
        await shop.stock("apple", 10)
        await shop.place("o-42", "apple")
        await shop.until("o-42", "OrderShipped")
        typed = [*steps(DOCS["access"])]
        assert len(typed) == 4
        for step in typed:
            await type_in(step, tmp_path, {**os.environ, **shop.environ})
