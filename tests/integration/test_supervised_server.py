"""R21, R22. `chorus up` restarts its server when the server ends, hangs or cannot store."""

import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import nats
import pytest
from nats.js.errors import Error as JetStreamError

from shared.run.server_log import LAST_LOG, LOG, last_errors, new_log
from shared.run.supervised_server import SPACE_AT_LEAST, Watch, supervised_server
from tests.integration.lines import Lines

DISK_MB = 24
CHUNK = b"x" * 500_000

IMPATIENT = Watch(ask_every_s=0.2, answers_within_s=1.0, unwell_at_most_s=1.0, silent_at_most_s=1.0)


@asynccontextmanager
async def kept(directory: Path, heard: Lines, watch: Watch = IMPATIENT) -> AsyncIterator[str]:
    async with supervised_server(directory, port=-1, write_line=heard.tell, watch=watch) as url:
        yield url


def pid_in(directory: Path) -> int:
    """The process id of the server, from its ports file."""
    (file,) = (directory / "ports").iterdir()
    return int(file.stem.rpartition("_")[2])


async def store(url: str, body: bytes, times: int = 1) -> None:
    """Store messages in a stream; raises JetStreamError or nats' TimeoutError when they are not stored."""
    client = await nats.connect(url)
    try:
        await client.jetstream().add_stream(name="KEPT", subjects=["kept"])
        for _ in range(times):
            await client.jetstream().publish("kept", body, timeout=2.0)
    finally:
        await client.close()


async def test_server_that_was_killed_is_back_on_its_port_with_its_streams(tmp_path: Path) -> None:
    heard = Lines()
    async with kept(tmp_path, heard) as url:
        await store(url, b"1")
        os.kill(pid_in(tmp_path), signal.SIGKILL)
        await heard.until("the nats-server is back")
        await store(url, b"2")
    assert heard.said == [
        "chorus: the nats-server ended, starting it again in 0.1 s",
        "chorus: the nats-server is back",
    ]


async def test_server_that_does_not_start_again_is_tried_until_it_does(tmp_path: Path) -> None:
    heard = Lines()
    async with kept(tmp_path, heard) as url:
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        port = int(url.rpartition(":")[2])

        def take_its_port() -> None:
            taken.bind(("127.0.0.1", port))
            taken.listen()

        heard.when["in 0.1 s"] = take_its_port
        heard.when["in 0.4 s"] = taken.close
        os.kill(pid_in(tmp_path), signal.SIGKILL)
        await heard.until("the nats-server is back")
    refused = next(line for line in heard.said if "address already in use" in line)
    assert f"the nats-server in {tmp_path} ended with exit code 1" in refused


async def test_server_that_says_it_is_not_well_is_started_again(tmp_path: Path) -> None:
    heard = Lines()
    async with kept(tmp_path, heard) as url:
        await store(url, b"1")
        broken = tmp_path / "jetstream" / "$G" / "streams" / "BROKEN"  # A stream that the server has not loaded.
        heard.when["not well"] = broken.rmdir
        broken.mkdir()
        assert "BROKEN" in await heard.until("the nats-server is not well, stopping it: ")
        await heard.until("the nats-server is back")
        await store(url, b"2")


async def test_server_that_hangs_is_started_again(tmp_path: Path) -> None:
    heard = Lines()
    async with kept(tmp_path, heard, IMPATIENT._replace(stops_within_s=1.0)) as url:
        os.kill(pid_in(tmp_path), signal.SIGSTOP)
        await heard.until("the nats-server is not well, stopping it: no answer")
        await heard.until("the nats-server is back")
        await store(url, b"1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


async def test_server_whose_disk_was_full_stores_again_once_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2 * SPACE_AT_LEAST))
    heard = Lines()
    async with kept(small_disk / "nats", heard) as url:
        with pytest.raises((JetStreamError, nats.errors.TimeoutError)):
            await store(url, CHUNK, times=2 * DISK_MB)
        unwell = await heard.until("the nats-server is not well")
        assert "no space left on device; free some space: " in unwell
        assert "chorus restarts it once there is more" in unwell
        ballast.unlink()
        await heard.until("the nats-server is back")
        await store(url, b"1")
    assert len(heard.said) == 4, heard.said


def test_last_words_are_the_errors_or_else_whatever_the_server_wrote(tmp_path: Path) -> None:
    with new_log(tmp_path) as log:
        log.write(b"[1] [INF] Starting\n[1] [INF] Restored\n")
    assert last_errors(tmp_path) == ["[1] [INF] Starting", "[1] [INF] Restored"]
    with new_log(tmp_path) as log:
        log.write(b"[2] [INF] Starting\n[2] [FTL] no such port\n")
    assert last_errors(tmp_path) == ["[2] [FTL] no such port"]
    assert "[1] [INF] Restored" in (tmp_path / LAST_LOG).read_text()
    (tmp_path / LOG).write_text("")
    assert last_errors(tmp_path) == ["its log is empty"]
