"""The programs and commands of docs/consumers.md, run as they stand there, by a user with the rights of the page."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import nats
import pytest
import pytest_asyncio

from shared.adapters.jetstream import connect
from shared.config.connection import find_connection
from shared.config.settings import Settings
from shared.ports.broker import Outgoing
from shared.run.server import LocalServer, local_server
from shared.run.system import declared
from shared.streams.apply import apply
from shared.wire.messages import MSG_ID, OCCURRED_AT
from tests.waiting import WITHIN_S, until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/consumers.md").read_text()
PROGRAMS = dict(
    zip(
        re.findall(r"This program, `(\w+\.py)`", PAGE),
        re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL),
        strict=True,
    )
)
USER = json.loads(re.findall(r"^```json\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0])
CONSOLE = "\n".join(re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
NATS_CLI = shutil.which("nats")
ADMIN = {"user": "admin", "password": "secret"}


def url_of(server: LocalServer, user: Mapping[str, Any]) -> str:
    return server.url.replace("//", f"//{user['user']}:{user['password']}@")


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[LocalServer]:
    """A shop's streams, on a server where the page's user has the page's rights."""
    async with local_server(tmp_path / "nats", more={"authorization": {"users": [ADMIN, USER]}}) as running:
        broker = await connect(find_connection({"NATS_URL": url_of(running, ADMIN)}), name="test")
        await apply(broker.api, declared(Settings()))
        await broker.close()
        yield running


async def say(server: LocalServer, context: str, event: str, key: str, version: int, **content: str) -> None:
    """Publish an event as its context does."""
    broker = await connect(find_connection({"NATS_URL": url_of(server, ADMIN)}), name="test")
    headers = {MSG_ID: f"{context}/thing-{key}@{version}", OCCURRED_AT: "2026-11-21T09:00:00.000000Z"}
    body = json.dumps({"order_id": key, **content}).encode()
    await broker.publish(Outgoing(f"evt.{context}.{event}.{key}", headers, body))
    await broker.close()


def started(program: str, directory: Path, server: LocalServer, *arguments: str) -> subprocess.Popen[str]:
    """Run a program of the page as a process of its own."""
    (directory / program).write_text(PROGRAMS[program])
    environ = {**os.environ, "NATS_URL": url_of(server, USER)}
    command = [sys.executable, program, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=directory, env=environ, stdout=pipe, stderr=pipe, text=True)


def parcels(directory: Path) -> list[tuple[str, ...]]:
    """The rows that the program has noted; none before it has a database."""
    if not (directory / "warehouse.db").exists():
        return []
    with closing(sqlite3.connect(directory / "warehouse.db")) as database:
        try:
            return database.execute("SELECT * FROM parcels ORDER BY event_id").fetchall()
        except sqlite3.OperationalError:
            return []  # The table is not there yet.


async def until_noted(directory: Path, count: int) -> list[tuple[str, ...]]:
    await until(lambda: len(parcels(directory)) >= count, "the program has noted the parcels")
    return parcels(directory)


async def nats_cli(server: LocalServer, user: Mapping[str, Any], line: str) -> subprocess.CompletedProcess[str]:
    """A command of the page, as this user."""
    if NATS_CLI is None:
        assert os.environ.get("CHORUS_REQUIRE_NATS_CLI") != "1", "there is no nats command on the PATH"
        pytest.skip("there is no nats command on the PATH; .ci/run builds it")
    words = ["bash", "-c", line.replace("nats ", f"nats --inbox-prefix _INBOX_{user['user']} ", 1)]
    environ = {**os.environ, "NATS_URL": url_of(server, user), "XDG_CONFIG_HOME": "nowhere"}
    done = await anyio.run_process(words, env=environ, check=False, stderr=subprocess.STDOUT)
    return subprocess.CompletedProcess(words, done.returncode, done.stdout.decode(), "")


def lines_with(word: str) -> str:
    (line,) = [line[2:] for line in CONSOLE.splitlines() if line.startswith("$ ") and word in line]
    return line


async def test_the_first_program_follows_an_order_to_its_end(server: LocalServer, tmp_path: Path) -> None:
    await say(server, "ordering", "OrderPlaced", "o-42", 1)
    await say(server, "ordering", "OrderPlaced", "o-43", 1)
    program = started("follow.py", tmp_path, server, "o-42")
    await say(server, "shipping", "OrderDelivered", "o-42", 2)
    said, errors = await anyio.to_thread.run_sync(lambda: program.communicate(timeout=WITHIN_S))
    assert (program.returncode, errors) == (0, "")
    assert said.splitlines() == [
        "2026-11-21T09:00:00.000000Z ordering OrderPlaced",
        "2026-11-21T09:00:00.000000Z shipping OrderDelivered",
    ]


async def test_the_second_program_notes_each_parcel_once_and_goes_on_after_a_kill(
    server: LocalServer, tmp_path: Path
) -> None:
    await say(server, "shipping", "OrderShipped", "o-1", 1, tracking_no="T-1")
    await say(server, "shipping", "OrderDelivered", "o-1", 2)
    program = started("warehouse.py", tmp_path, server)
    assert await until_noted(tmp_path, 1) == [("shipping/thing-o-1@1", "o-1", "T-1")]
    program.kill()
    program.communicate()
    await say(server, "shipping", "OrderShipped", "o-2", 1, tracking_no="T-2")
    again = started("warehouse.py", tmp_path, server)
    assert [order for _, order, _ in await until_noted(tmp_path, 2)] == ["o-1", "o-2"]
    again.kill()
    again.communicate()


async def test_the_commands_of_the_page_read_the_same(server: LocalServer) -> None:
    await say(server, "shipping", "OrderShipped", "o-42", 1, tracking_no="T-42")
    added = await nats_cli(server, ADMIN, lines_with("consumer add"))
    assert added.returncode == 0, added.stdout
    read = await nats_cli(server, USER, lines_with("consumer next").replace("--count 10", "--count 1"))
    assert '"tracking_no": "T-42"' in read.stdout, read.stdout
    followed = await nats_cli(server, ADMIN, f"{lines_with('nats sub')} --terminate-at-end --wait 1s --raw")
    assert '"tracking_no": "T-42"' in followed.stdout, followed.stdout


FORBIDDEN: dict[str, Any] = {
    "evt.shipping.OrderShipped.o-42": {},
    "cmd.ordering.CancelOrder.o-42": {},
    "$JS.API.CONSUMER.RESET.EVENTS.ordering-0": {"seq": 1},
    "$JS.API.CONSUMER.DELETE.EVENTS.ordering-0": {},
    "$JS.API.CONSUMER.MSG.NEXT.EVENTS.ordering-0": {"batch": 1},
    "$JS.API.STREAM.PURGE.EVENTS": {},
    "$JS.API.CONSUMER.CREATE.EVENTS.ordering-0.evt.ordering.OrderPlaced.*.*": {
        "stream_name": "EVENTS",
        "config": {"name": "ordering-0", "durable_name": "ordering-0"},
    },
}


async def test_the_user_of_the_page_can_do_nothing_else(server: LocalServer) -> None:
    denied: list[str] = []

    async def noted(error: Exception) -> None:
        denied.append(str(error))

    client = await nats.connect(url_of(server, USER), inbox_prefix=b"_INBOX_warehouse", error_cb=noted)
    try:
        for subject, body in FORBIDDEN.items():
            await client.publish(subject, json.dumps(body).encode(), reply="_INBOX_warehouse.answer")
        await until(lambda: len(denied) == len(FORBIDDEN), "every publication is denied")
    finally:
        await client.close()
    for subject, error in zip(FORBIDDEN, denied, strict=True):
        assert error == f'nats: permissions violation for publish to "{subject.lower()}"'
