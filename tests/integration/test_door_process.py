"""`chorus door` as a process: a producer of a server with users, which random bytes on its socket do not stop."""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.run.server import local_server
from shared.run.system import apply_streams
from shared.wire.signature import sign
from tests.conftest import SEED
from tests.e2e.shop import environment
from tests.guarded import guard
from tests.unit.shared.input.malformed import ORDER
from tests.waiting import WITHIN_S

SECRET = "a-secret-of-16-or-more"
HEAD = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nIdempotency-Key: k-1\r\n"


class Door:
    """The running process."""

    def __init__(self, process: anyio.abc.Process, url: str) -> None:
        self.process = process
        parts = urlsplit(url)
        assert parts.hostname
        self.address = (parts.hostname, parts.port or 0)

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Send one request on a connection of its own."""
        connection = HTTPConnection(*self.address, timeout=WITHIN_S)
        given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
        with closing(connection):
            connection.request("POST", path, body, given)
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    access = tmp_path / "access"
    async with local_server(tmp_path / "nats", more=guard(access)) as server:
        await apply_streams(ConnectionOptions(servers=(server.url,)), Settings(access_dir=access))
        environ = {**environment(server.url, tmp_path), "CHORUS_WEBHOOK_SECRETS": f"carrier={SECRET}"}
        command = [sys.executable, "-m", "shared.cli", "door", "--port", "0"]
        process = await anyio.open_process(command, env=environ, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        try:
            with anyio.fail_after(WITHIN_S):
                said = b""
                while b"\n" not in said:
                    said += await process.stdout.receive()
            assert b"the door is open on http://" in said, said
            yield Door(process, said.split()[-1].decode())
        finally:
            if process.returncode is None:
                process.kill()
            await process.aclose()


async def test_requests_become_commands_of_a_producer(door: Door) -> None:
    body = json.dumps(ORDER).encode()
    first = await asyncio.to_thread(door.post, "/orders", body, Idempotency_Key="k-1")
    again = await asyncio.to_thread(door.post, "/orders", body, Idempotency_Key="k-1")
    assert (first[0], again[0]) == (202, 200), (first, again)
    assert json.loads(first[1])["stream"] == "COMMANDS"
    report = json.dumps({"id": "e-1", "order_id": "o-42", "tracking_no": "CH1", "outcome": "lost"}).encode()
    signed = sign(SECRET, report, int(time.time()))
    assert (await asyncio.to_thread(door.post, "/webhooks/carrier", report, Signature=signed))[0] == 202
    door.process.send_signal(signal.SIGTERM)
    with anyio.fail_after(WITHIN_S):
        assert await door.process.wait() == 0


async def test_request_with_two_lengths_is_refused_and_ends_its_connection(door: Door) -> None:
    """A proxy that takes the other length would take the second request for one of its next client."""
    body = json.dumps(ORDER).encode()
    lengths = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    answer = await exchange(door, 2 * (HEAD + lengths + chunks))
    assert (answer.split()[1], answer.count(b"HTTP/1.1")) == (b"400", 1)
    assert b"send Content-Length or Transfer-Encoding" in answer


async def test_request_with_two_idempotency_keys_is_refused(door: Door) -> None:
    body = json.dumps(ORDER).encode()
    more = b"Idempotency-Key: k-2\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = await exchange(door, HEAD + more + body)
    assert (answer.split()[1], b"the header comes twice" in answer) == (b"400", True)


async def exchange(door: Door, request: bytes) -> bytes:
    """Send bytes, and read until the door ends the connection."""
    reader, writer = await asyncio.open_connection(*door.address)
    with closing(writer):
        writer.write(request)
        async with asyncio.timeout(WITHIN_S):
            return await reader.read()


async def test_random_bytes_on_the_socket_do_not_stop_it(door: Door) -> None:
    chance = random.Random(f"{os.environ[SEED]} door")
    for number in range(40):
        reader, writer = await asyncio.open_connection(*door.address)
        head = chance.choice([b"", b"POST /orders HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\x16\x03\x01\x02"])
        writer.write(head + chance.randbytes(chance.randrange(2_000)) + chance.choice([b"", b"\r\n\r\n"]))
        if number % 8 == 0:
            writer.write(b"X" * 40_000)
        try:
            writer.write_eof()
            async with asyncio.timeout(WITHIN_S):
                answer = await reader.read()
        except OSError:  # It has hung up already.
            answer = b""
        assert answer == b"" or answer.split()[1].startswith(b"4"), answer[:80]
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    assert door.process.returncode is None
    status, _ = await asyncio.to_thread(door.post, "/orders", json.dumps(ORDER).encode(), Idempotency_Key="k-1")
    assert status == 202
