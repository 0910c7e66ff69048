"""A running `chorus up` as a person has it: its lines, and a shell beside it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from shared.access.roles import TESTER
from tests.forking import run_chorus
from tests.guarded import SECURE, login_of
from tests.waiting import WITHIN_S
from tests.watching import Watcher, watching

ORDER = (
    "customer_id=c-1",
    "email=ann@example.com",
    "lines[0].sku=apple",
    "lines[0].quantity=1",
    "lines[0].unit_price.amount_minor=250",
    "address.street=Hauptstr. 1",
    "address.city=Bern",
    "address.country=CH",
    "address.postal_code=3000",
    "method_token=tok_ok",
)


class Up:
    """A running `chorus up`, its lines, and a shell beside it."""

    def __init__(self, process: Process, environ: Mapping[str, str], cwd: Path | None) -> None:
        self.process = process
        self.lines: list[str] = []
        self.url = ""
        self.environ = dict(environ)
        self._cwd = cwd
        self.ended = anyio.Event()
        """Set when its output has ended."""
        self._news = anyio.Event()

    async def listen(self) -> None:
        assert self.process.stdout is not None
        pending = b""
        async for chunk in self.process.stdout:
            *complete, pending = (pending + chunk).split(b"\n")
            self.lines += [line.decode() for line in complete]
            self._news.set()
            self._news = anyio.Event()
        self.ended.set()

    async def until(self, *words: str) -> str:
        """The first line that has all the words."""
        with anyio.fail_after(WITHIN_S):
            while True:
                for line in self.lines:
                    if all(word in line for word in words):
                        return line
                await self._news.wait()

    async def ready(self) -> None:
        line = await self.until("ready after")
        self.environ["NATS_URL"] = self.url = line.split(" on ")[1].partition(";")[0]

    async def chorus(self, *words: str, exits: int = 0) -> str:
        """Run a command; one that waits for an answer waits as long as a test does, unless it says how long."""
        if "--wait" in words and "--timeout" not in words:
            words = (*words, "--timeout", f"{WITHIN_S:g}s")
        ran = await run_chorus(*words, environ=self.environ, cwd=self._cwd)
        assert ran.code == exits, ran.output + ran.errors
        return ran.output + ran.errors

    @asynccontextmanager
    async def stopped(self, words: str) -> AsyncIterator[None]:
        """Stop a process with SIGSTOP while the block runs; the supervisor may start it again meanwhile."""
        pid = self.pid(words)
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[Watcher]:
        """A watcher of EVENTS while the block runs."""
        access = Path(self.environ["CHORUS_DATA_DIR"]) / "access"
        async with watching(self.url, **login_of(TESTER, access)) as watcher:
            yield watcher

    @property
    def commands(self) -> Mapping[int, str]:
        """The command lines of its children, which every user of the machine can read, by process."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return {int(child): Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in children}

    def pid(self, words: str) -> int:
        """The process among the children of `chorus up` whose command line has these words."""
        return next(child for child, command in self.commands.items() if words in command)


async def followed_until(up: Up, text: bytes, *words: str) -> list[str]:
    """The lines of a command that goes on until Ctrl-C, which it gets once it has said this text."""
    process = await anyio.open_process([sys.executable, "-m", "shared.cli", *words], env=up.environ, stderr=None)
    assert process.stdout is not None
    said = b""
    with anyio.fail_after(WITHIN_S):
        while text not in said:
            said += await process.stdout.receive()
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    return said.decode().splitlines()


@asynccontextmanager
async def chorus_up(
    data: Path, *, words: Sequence[str] = (), cwd: Path | None = None, **settings: str
) -> AsyncIterator[Up]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHORUS_", "NATS_"))}
    environ = {**kept, "CHORUS_DATA_DIR": str(data), "XDG_CONFIG_HOME": str(data), "TMPDIR": str(data), **settings}
    if SECURE and "--secure" not in words:
        words = (*words, "--secure")
    process = await anyio.open_process(
        [sys.executable, "-m", "shared.cli", "up", "--port", "-1", *words],
        env=environ,
        stderr=subprocess.STDOUT,
        cwd=cwd,
    )
    up = Up(process, environ, cwd)
    listening = asyncio.create_task(up.listen())
    try:
        yield up
    finally:
        listening.cancel()
        print(*up.lines, sep="\n")
        if process.returncode is None:
            process.kill()
        await process.aclose()


async def stock(up: Up) -> None:
    await up.chorus("send", "inventory.RegisterStockItem", "apple", "name=Apple", "unit_price.amount_minor=250")
    await up.chorus("send", "inventory.ReplenishStock", "apple", "quantity=9", "delivery_id=first", "--wait")
