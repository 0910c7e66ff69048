"""`chorus up` as a person runs it, and the commands beside it."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from anyio.abc import Process

from shared.adapters.jetstream import connect
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerLoginError
from tests.forking import run_chorus
from tests.other_system import write_travel
from tests.own_system import Builder, steps
from tests.waiting import WITHIN_S
from tests.watching import watching

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

    def pid(self, words: str) -> int:
        """The process among the children of `chorus up` whose command line has these words."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(child): Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in children}
        return next(child for child, command in commands.items() if words in command)


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


async def test_what_dies_or_hangs_is_started_again_and_all_stop_on_sigterm(tmp_path: Path) -> None:
    async with chorus_up(tmp_path) as up:
        await up.ready()
        await up.until("this server is open", "chorus up --secure")
        await stock(up)
        server, bank = up.pid("nats-server"), up.pid("worker bank")
        os.kill(up.pid("worker ordering"), signal.SIGKILL)
        await up.until("ordering ended (SIGKILL)")
        await up.until("ordering is back")
        os.kill(up.pid("worker inventory"), signal.SIGSTOP)
        await up.until("inventory hangs")
        await up.until("inventory is back")
        os.kill(server, signal.SIGKILL)
        await up.until("nats-server ended")
        await up.until("the nats-server is back")
        said = await up.chorus("send", "ordering.PlaceOrder", "o-1", *ORDER, "--wait")
        assert "ordering.OrderPlaced" in said
        up.process.terminate()
        with anyio.fail_after(WITHIN_S):
            assert await up.process.wait() == 0
        assert not await anyio.Path(f"/proc/{bank}").exists()


async def test_secure_server_lets_in_its_users_only_and_each_command_takes_its_key(tmp_path: Path) -> None:
    async with chorus_up(tmp_path, words=["--secure"]) as up:
        await up.ready()
        await up.until("each command takes its key from", str(tmp_path / "access"))
        await stock(up)
        assert "ordering.OrderPlaced" in await up.chorus("send", "ordering.PlaceOrder", "o-1", *ORDER, "--wait")
        assert await followed_until(up, b"shipping.OrderShipped", "timeline", "o-1", "--follow")
        assert "nothing to do" in await up.chorus("streams", "plan")
        assert "nothing is parked" in await up.chorus("parked", "ls")
        producer = ("--nkey", str(tmp_path / "access" / "producer.nk"))
        said = await up.chorus("timeline", "o-1", *producer, exits=77)
        assert "user producer may not publish to $JS.API.STREAM.INFO.EVENTS" in said
        with pytest.raises(BrokerLoginError):
            await connect(ConnectionOptions(servers=(up.url,)), name="tests")


def spoil(data: Path, *contexts: str) -> None:
    """Write files that are no databases in place of those of these contexts."""
    data.mkdir()
    for name in contexts:
        (data / f"{name}.db").write_text("not a database, and not empty either")


async def test_a_context_that_cannot_start_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    write_travel(tmp_path)
    spoil(tmp_path / "data", "hotels")
    async with chorus_up(tmp_path / "data", cwd=tmp_path) as up:
        await up.ready()
        refused = await up.until("hotels cannot start (exit code 78): bad configuration: ")
        assert "trying again in 10 s" in refused
        assert "1 of 2 workers on" in await up.until("ready after")
        assert "flights.FlightReserved" in await up.chorus(
            "send", "flights.ReserveFlight", "t-1", "to=Bern", "nights=3", "--wait"
        )
        up.process.terminate()
        with anyio.fail_after(WITHIN_S):
            assert await up.process.wait() == 78
            await up.ended.wait()
        assert "hotels cannot start (exit code 78)" in up.lines[-1]
        assert "hotels.db" in up.lines[-1]


async def test_another_system_runs_without_the_contexts_that_are_broken_or_mistaken(tmp_path: Path) -> None:
    write_travel(tmp_path)
    contexts = tmp_path / "travel/contexts"
    for name in ("cars", "trains"):
        shutil.copytree(contexts / "flights", contexts / name)
    (contexts / "cars/worker.py").write_text("from travel import nothing_there")
    for module in (contexts / "trains").glob("*.py"):
        text = module.read_text().replace("flights", "trains").replace("Flight", "Seat")
        module.write_text(text.replace("trip_id", "trip") if module.stem == "upstream" else text)
    async with chorus_up(tmp_path / "data", cwd=tmp_path) as up:
        await up.ready()
        assert "2 of 4 workers" in await up.until("ready after")
        left_out = await up.until("trains is left out: ")
        assert "travel.contexts.trains.upstream.RoomRefused cannot read what hotels writes: $.trip is not" in left_out
        await up.until("travel/contexts/cars/worker.py", "line 1")
        await up.until("cars cannot start (exit code 78): ", "ImportError: cannot import name 'nothing_there'")
        async with watching(up.url) as watcher:
            asked = await up.chorus("send", "flights.ReserveFlight", "t-1", "to=Bern", "nights=3", "--wait")
            assert "flights.FlightReserved" in asked
            await watcher.until("t-1", "RoomReserved")
        assert "trip: reserved after" in await up.chorus("timeline", "t-1")
        up.process.terminate()
        with anyio.fail_after(WITHIN_S):
            assert await up.process.wait() == 78
            await up.ended.wait()
        assert "trains is left out: " in up.lines[-2]
        assert "cars cannot start (exit code 78): " in up.lines[-1]


@pytest.mark.long
async def test_the_page_about_your_own_system_ends_as_it_shows(tmp_path: Path) -> None:
    builder = Builder(tmp_path)
    await anyio.to_thread.run_sync(partial(builder.follow, tests=False))
    commands = [step for step in steps() if step.command]
    *_, send, timeline = commands
    async with chorus_up(tmp_path / "data", cwd=builder.system) as up:
        await up.ready()
        said = [await up.chorus(*shlex.split(step.command)[1:]) for step in (send, timeline)]
    assert said[0] == send.shown
    told = re.compile(r"\w+\.[A-Z]\w+.*|^trip: .+(?= after)", re.MULTILINE)
    assert told.findall(said[1]) == told.findall(timeline.shown)


async def test_a_system_of_which_no_context_can_start_ends_with_78(tmp_path: Path) -> None:
    write_travel(tmp_path)
    spoil(tmp_path / "data", "flights", "hotels")
    async with chorus_up(tmp_path / "data", cwd=tmp_path) as up:
        with anyio.fail_after(WITHIN_S):
            assert await up.process.wait() == 78
            await up.ended.wait()
        last = up.lines[-2:]
        assert [line for line in last if "cannot start (exit code 78): " in line and "trying" not in line] == last


async def test_a_server_that_is_not_well_is_started_again(tmp_path: Path) -> None:
    write_travel(tmp_path)
    async with chorus_up(tmp_path / "data", cwd=tmp_path) as up:
        await up.ready()
        broken = tmp_path / "data" / "nats" / "jetstream" / "$G" / "streams" / "BROKEN"
        broken.mkdir()  # A stream that the server has not loaded.
        assert "BROKEN" in await up.until("the nats-server is not well, stopping it")
        broken.rmdir()
        await up.until("the nats-server is back")
        assert "flights.FlightReserved" in await up.chorus(
            "send", "flights.ReserveFlight", "t-1", "to=Bern", "nights=3", "--wait"
        )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_up(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Up]:
    """One `chorus up` for the tests that leave it as it was; its directory has a space in its name."""
    directory = tmp_path_factory.mktemp("up")
    data = directory / "my shop"
    async with chorus_up(directory, words=("--data", str(data)), CHORUS_DATA_DIR="") as up:
        await up.ready()
        up.environ["CHORUS_DATA_DIR"] = str(data)
        await stock(up)
        yield up


@pytest.mark.asyncio(loop_scope="module")
class TestCommands:
    """The commands of an operator beside a running `chorus up`."""

    async def test_what_other_commands_need_is_printed_as_they_can_be_given_it(
        self, shared_up: Up, tmp_path: Path
    ) -> None:
        export = await shared_up.until("  export ")
        command = await shared_up.until("  chorus send ")
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("CHORUS_", "NATS_"))}
        path = f"{Path(sys.executable).parent}:{bare['PATH']}"
        done = await anyio.run_process(
            ["sh", "-c", f"{export.strip()} && {command.strip()} && chorus health inventory && chorus streams plan"],
            env={**bare, "PATH": path, "XDG_CONFIG_HOME": str(tmp_path)},
            check=False,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout.decode()
        assert "stored in COMMANDS" in done.stdout.decode()

    async def test_a_command_is_sent_followed_and_told(self, shared_up: Up) -> None:
        up = shared_up
        place = ("send", "ordering.PlaceOrder", "o-1", *ORDER, "--id", "place-o-1", "--wait", "--json")
        first = json.loads(await up.chorus(*place))
        assert (first["outcome"], first["duplicate"], first["command_id"]) == ("answered", False, "place-o-1")
        assert first["events"][0]["type"] == "OrderPlaced"
        again = json.loads(await up.chorus(*place))
        assert (again["duplicate"], again["seq"], again["events"]) == (True, first["seq"], first["events"])
        quiet = await up.chorus(
            "send", "inventory.ReplenishStock", "apple", "quantity=9", "delivery_id=first", "--wait"
        )
        assert "nothing left to do" in quiet
        malformed = await up.chorus("send", "ordering.PlaceOrder", "o-2", "--body", '{"lines": 1}', exits=64)
        assert "Expected `array`, got `int` - at `$.lines`" in malformed
        dollars = (*ORDER, "lines[0].unit_price.currency=USD")
        refused = await up.chorus("send", "ordering.PlaceOrder", "o-2", *dollars, "--wait", exits=1)
        assert "ordering.CommandRejected wrong_currency" in refused
        assert "$.lines[0].unit_price.currency: the shop charges in EUR" in refused
        tree = json.loads(await up.chorus("timeline", "o-1", "--json"))
        assert [(step["id"], step["depth"]) for step in tree[:2]] == [("place-o-1", 0), ("ordering/order-o-1@1", 1)]
        assert "no event has the key" in await up.chorus("timeline", "o-9", exits=1)
        assert await up.chorus("streams", "plan") == "nothing to do\n"
        assert "ordering: alive" in await up.chorus("health")

    async def test_a_timeline_is_exported_compared_and_followed(self, shared_up: Up, tmp_path: Path) -> None:
        up = shared_up
        async with watching(up.url) as watcher:
            await up.chorus("send", "ordering.PlaceOrder", "o-seen", *ORDER, "--wait")
            await up.chorus("send", "ordering.PlaceOrder", "o-poor", *ORDER[:-1], "method_token=tok_poor_e2e", "--wait")
            done = Counter({"ShipmentRecorded": 1, "StockCommitted": 1, "CustomerNotified": 3})
            await watcher.until_said("o-seen", done)
            await watcher.until("o-poor", "OrderCancelled")
        with anyio.fail_after(WITHIN_S):
            while "… shipping: a client may send ReportDelivered, then" not in await up.chorus("timeline", "o-seen"):
                pass  # A context may not have recorded yet that its last event was published.
        picture = tmp_path / "seen.svg"
        assert await up.chorus("timeline", "o-seen", "--format", "svg", "--out", str(picture)) == ""
        assert picture.read_text().startswith("<svg ")
        assert (await up.chorus("timeline", "o-seen", "--format", "mermaid")).startswith("sequenceDiagram\n")
        assert "resourceSpans" in json.loads(await up.chorus("timeline", "o-seen", "--format", "otlp"))
        parted = await up.chorus("timeline", "--diff", "o-seen", "o-poor", exits=1)
        assert re.search(r"they part after \S+: o-seen goes on with \S+.*, o-poor goes on with \S+", parted)
        assert "payments.PaymentFailed authorize insufficient_funds" in parted
        assert await up.chorus("timeline", "--diff", "o-seen", "o-seen") != parted
        words = ("--out", str(tmp_path / "no/where"), "--format", "svg")
        assert "name another file" in await up.chorus("timeline", "o-seen", *words, exits=64)
        lines = await followed_until(up, b"shipping.OrderShipped", "timeline", "o-seen", "--follow")
        assert lines[0].split() == ["0.0", "ms", "ordering.OrderPlaced"]
        lines = await followed_until(up, b'"OrderShipped"', "timeline", "o-seen", "--follow", "--json")
        assert [json.loads(lines[0])[name] for name in ("context", "type")] == ["ordering", "OrderPlaced"]

    async def test_a_cancellation_that_comes_too_late_is_refused_as_often_as_it_is_sent(self, shared_up: Up) -> None:
        up = shared_up
        async with watching(up.url) as watcher:
            await up.chorus("send", "ordering.PlaceOrder", "o-late", *ORDER, "--wait")
            await watcher.until("o-late", "ShipmentRecorded")
        cancel = ("send", "ordering.CancelOrder", "o-late", "reason=I changed my mind", "--wait")
        first = await up.chorus(*cancel, exits=1)
        assert first.splitlines()[-1] == "ordering.OrderCancellationRejected SHIPPED"
        again = await up.chorus(*cancel, exits=1)
        assert again.splitlines()[-2:] == [
            "ordering.CommandRejected too_late_to_cancel",
            "    $: the order is SHIPPED",
        ]

    async def test_an_id_of_another_command_is_refused(self, shared_up: Up) -> None:
        up = shared_up
        place = ("send", "ordering.PlaceOrder", "o-id", *ORDER, "--id", "one", "--wait")
        await up.chorus(*place)
        assert "duplicate" in await up.chorus(*place)
        reused = "the id 'one' was used for another command, which led to ordering.OrderPlaced o-id; nothing was stored"
        assert reused in await up.chorus("send", "ordering.PlaceOrder", "o-2", *ORDER, "--id", "one", exits=1)
        assert reused in await up.chorus("send", "ordering.CancelOrder", "o-id", "reason=no", "--id", "one", exits=1)

    async def test_a_command_without_a_worker_says_so_and_keeps_its_id(self, shared_up: Up) -> None:
        up = shared_up
        cancel = ("send", "ordering.CancelOrder", "o-1", "--id", "two")
        async with up.stopped("worker ordering"):
            unheard = await up.chorus(
                "send", "ordering.CancelOrder", "o-1", "reason=late", "--wait", "--timeout", "1s", exits=1
            )
            assert "no answer came within 1s; check the worker: chorus health ordering" in unheard
            await up.chorus(*cancel, "reason=late")
            assert "duplicate" in await up.chorus(*cancel, "reason=late")
            other = await up.chorus(*cancel, "reason=later", exits=1)
            assert "the id 'two' was used for ordering.CancelOrder o-1 with another body; nothing was stored" in other
            other = await up.chorus("send", "ordering.CancelOrder", "o-2", "reason=late", "--id", "two", exits=1)
            assert "the id 'two' was used for ordering.CancelOrder o-1; nothing was stored" in other
