"""`chorus up` as a person runs it: it starts what dies or hangs again, and goes on without what cannot start."""

import os
import re
import shlex
import shutil
import signal
import stat
from functools import partial
from pathlib import Path

import anyio
import pytest

from shared.adapters.jetstream import connect
from shared.config.connection import ConnectionOptions
from shared.ports.broker import BrokerLoginError
from tests.e2e.up import ORDER, chorus_up, followed_until, stock
from tests.guarded import SECURE
from tests.other_system import write_travel
from tests.own_system import Builder, steps
from tests.waiting import WITHIN_S


async def test_what_dies_or_hangs_is_started_again_and_all_stop_on_sigterm(tmp_path: Path) -> None:
    async with chorus_up(tmp_path) as up:
        await up.ready()
        if not SECURE:
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
    planted = "hunter2-planted-here"
    mail = f"smtp://shop:{planted}@127.0.0.1:1"
    async with chorus_up(
        tmp_path, words=["--secure"], CHORUS_SMTP_URL=mail, CHORUS_WEBHOOK_SECRETS=f"carrier={planted}"
    ) as up:
        await up.ready()
        await up.until("each command takes its key from", str(tmp_path / "access"))
        seeds = [file.read_text().strip() for file in (tmp_path / "access").glob("*.nk")]
        commands = list(up.commands.values())
        assert len(commands) >= 9, "the server and the workers"
        assert {stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "access").glob("*.nk")} == {0o600}
        await stock(up)
        assert "ordering.OrderPlaced" in await up.chorus("send", "ordering.PlaceOrder", "o-1", *ORDER, "--wait")
        assert await followed_until(up, b"shipping.OrderShipped", "timeline", "o-1", "--follow")
        assert "nothing to do" in await up.chorus("streams", "plan")
        assert "nothing is parked" in await up.chorus("parked", "ls")
        producer = ("--nkey", str(tmp_path / "access" / "producer.nk"))
        said = await up.chorus("timeline", "o-1", *producer, exits=77)
        assert "user producer may not publish to $JS.API.STREAM.INFO.EVENTS" in said
        assert ", 0 not proven" in await up.chorus("audit")
        with pytest.raises(BrokerLoginError):
            await connect(ConnectionOptions(servers=(up.url,)), name="tests")
        assert not [text for text in (*commands, *up.lines) for secret in (planted, *seeds) if secret in text]


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
        async with up.watched() as watcher:
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
