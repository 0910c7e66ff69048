"""The group `integration` on a real server, with a real endpoint: signed CloudEvents, a crash, an operator."""

import asyncio
import json
import os
import re
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from shared import catalog
from shared.adapters.clock import SystemClock
from shared.adapters.http import HttpSender
from shared.adapters.jetstream import JetStream, connect
from shared.adapters.sqlite.views.store import SqliteViewStore
from shared.config.connection import ConnectionOptions
from shared.config.secrets import Secret, SecretUrl
from shared.derived.topology import declare
from shared.engine.monitor.alarms import Alarms
from shared.groups.process import GroupProcess
from shared.http.serving import serve
from shared.ports.broker import Outgoing
from shared.ports.forwards import NoReplyError
from shared.readside.group import Group
from shared.streams.apply import apply
from shared.wire.messages import MSG_ID, OCCURRED_AT
from shared.wire.signature import check_signature
from tests.forking import Ran, run_chorus
from tests.integration.engine import TOPOLOGY
from tests.integration.test_read_side import PLACED
from tests.waiting import until

SECRET = "a-secret-of-16-or-more"


class Endpoint:
    """A server that keeps what it gets; `status` decides its answer, by the id of the event."""

    def __init__(self) -> None:
        self.url = ""
        self.got: list[tuple[Mapping[str, str], bytes]] = []
        self.status: Callable[[str], int] = lambda _: 202
        self.app = Starlette(routes=[Route("/hook", self._post, methods=["POST"])])

    def listens(self, url: str) -> None:
        self.url = f"{url}/hook"

    @property
    def ids(self) -> list[str]:
        return [headers["ce-id"] for headers, _ in self.got]

    async def _post(self, request: Request) -> Response:
        body = await request.body()
        status = self.status(request.headers["ce-id"])
        if status < 300:
            self.got.append((dict(request.headers), body))
        return Response(status_code=status, headers={"location": "/elsewhere"})


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    """An endpoint that answers until the test ends."""
    made = Endpoint()
    serving = asyncio.create_task(serve(made.app, "127.0.0.1", 0, made.listens))
    await until(lambda: made.url, "the endpoint listens")
    yield made
    serving.cancel()
    await asyncio.wait([serving])


def settings(url: str) -> Any:
    return catalog.settings_with({"forward_url": SecretUrl(url), "forward_secret": Secret(SECRET)})


def integration(url: str) -> Group:
    group = catalog.load_all(settings(url)).read_sides["insights"].group("integration")
    assert group is not None
    return group


@pytest.fixture
async def broker(account_url: str, endpoint: Endpoint) -> AsyncIterator[JetStream]:
    connected = await connect(ConnectionOptions(servers=(account_url,)), name="tests")
    await apply(connected.api, declare(TOPOLOGY, catalog.members(settings(endpoint.url)).values()))
    yield connected
    await connected.close()


@asynccontextmanager
async def forwarding(broker: JetStream, endpoint: Endpoint, directory: Path) -> AsyncIterator[GroupProcess]:
    """The group at work; the end of the block kills it in the middle of its work."""
    group, clock = integration(endpoint.url), SystemClock()
    process = GroupProcess(
        "insights",
        group,
        await SqliteViewStore.open(directory / "insights-integration.db", group),
        broker,
        clock,
        alarms=Alarms(clock),
        priority_timeout_s=1.0,
        sender=HttpSender(endpoint.url, timeout_s=5.0),
    )
    async with process.at_work() as tasks:
        tasks.start_soon(process.run)
        yield process


async def say(broker: JetStream, key: str, event: str, version: int, **content: Any) -> str:
    """Publish an event of an order as ordering does; its id."""
    identity = f"ordering/order-{key}@{version}"
    headers = {MSG_ID: identity, OCCURRED_AT: "2026-11-28T09:00:00.000000Z"}
    body = json.dumps({**content, "order_id": key}).encode()
    await broker.publish(Outgoing(f"evt.ordering.{event}.{key}", headers, body))
    return identity


def environment(account_url: str, directory: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NATS_", "CHORUS_"))}
    return {**kept, "NATS_URL": account_url, "CHORUS_DATA_DIR": str(directory)}


async def parked(account_url: str, directory: Path, *words: str) -> Ran:
    return await run_chorus("parked", *words, environ=environment(account_url, directory))


async def chorus(account_url: str, directory: Path, endpoint: Endpoint, *words: str) -> Ran:
    set_up = {"CHORUS_FORWARD_URL": endpoint.url, "CHORUS_FORWARD_SECRET": SECRET}
    return await run_chorus(*words, environ={**environment(account_url, directory), **set_up})


async def test_events_arrive_as_signed_cloud_events_and_go_on_after_a_kill(
    broker: JetStream, endpoint: Endpoint, tmp_path: Path
) -> None:
    placed = await say(broker, "o-1", "OrderPlaced", 1, **PLACED)
    await say(broker, "o-1", "OrderDeadlineExtended", 2, expires_at="2026-11-28T10:00:00Z")  # Not forwarded.
    async with forwarding(broker, endpoint, tmp_path) as process:
        await until(lambda: process.is_resting and endpoint.got, "the event is delivered")
    ((headers, body),) = endpoint.got
    check_signature([SECRET], headers["signature"], body, SystemClock().now().timestamp())
    assert json.loads(body)["total"] == {"amount_minor": 500}
    assert (headers["ce-id"], headers["ce-type"], headers["ce-source"]) == (placed, "ordering.OrderPlaced", "/ordering")
    assert (headers["ce-subject"], headers["ce-time"]) == ("o-1", "2026-11-28T09:00:00.000000Z")
    assert (headers["ce-specversion"], headers["content-type"]) == ("1.0", "application/json")
    confirmed = await say(broker, "o-1", "OrderConfirmed", 3)
    endpoint.status = lambda _: 503
    async with forwarding(broker, endpoint, tmp_path) as process:
        await until(lambda: process.forwarder.failed, "an attempt has failed")
    endpoint.status = lambda _: 202
    async with forwarding(broker, endpoint, tmp_path) as process:
        await until(lambda: process.is_resting and len(endpoint.got) > 1, "the rest is delivered")
    assert endpoint.ids == [placed, confirmed]


async def test_an_operator_sees_what_cannot_be_delivered_and_has_it_tried_again_or_skipped(
    broker: JetStream, endpoint: Endpoint, tmp_path: Path, account_url: str
) -> None:
    refused = {"ordering/order-o-1@1", "ordering/order-o-2@1"}
    endpoint.status = lambda identity: 422 if identity in refused else 202
    for key in ("o-1", "o-2", "o-3"):
        await say(broker, key, "OrderPlaced", 1, **PLACED)
        await say(broker, key, "OrderConfirmed", 2)
    async with forwarding(broker, endpoint, tmp_path) as process:
        await until(lambda: process.forwarder.parked == 2, "two events are parked")
        lag = await chorus(account_url, tmp_path, endpoint, "lag", "insights", "--every", "50ms")
        listed = await parked(account_url, tmp_path, "ls", "--json")
        shown = await parked(account_url, tmp_path, "show", "insights-integration/1")
        refused.clear()
        retried = await parked(account_url, tmp_path, "retry", "insights-integration/1")
        skipped = await parked(account_url, tmp_path, "skip", "o-2", "--why", "a test", "--yes")
        await until(lambda: process.is_resting, "everything is delivered")
    assert "insights-integration: 2 events cannot be delivered and wait for an operator: chorus parked ls" in lag.output
    assert listed.code == 1
    assert [(one["number"], one["kind"], one["cause"]) for one in json.loads(listed.output)] == [
        ("insights-integration/1", "undelivered", "the endpoint answers 422"),
        ("insights-integration/3", "undelivered", "the endpoint answers 422"),
    ]
    assert "1 more of its key wait behind it" in shown.output
    assert (retried.code, retried.output.split()[2:]) == (0, ["delivered", "or", "skipped"])
    assert skipped.code == 0
    assert sorted(endpoint.ids) == [
        "ordering/order-o-1@1",
        "ordering/order-o-1@2",
        "ordering/order-o-2@2",
        "ordering/order-o-3@1",
        "ordering/order-o-3@2",
    ]
    rebuilt = await chorus(account_url, tmp_path, endpoint, "rebuild", "insights", "--force")
    compared = await chorus(
        account_url, tmp_path, endpoint, "replay", "insights", "--group", "integration", "--into", "x", "--diff"
    )
    assert (rebuilt.code, compared.code, "has no read model" in compared.errors) == (0, 64, True)
    with closing(sqlite3.connect(tmp_path / "insights-integration.db")) as database:
        assert database.execute("SELECT event_id, why FROM forwards_skipped").fetchall() == [
            ("ordering/order-o-2@1", "a test")
        ]


def at_most_mib(pid: int) -> float:
    """The most memory that a process has had."""
    (kib,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(kib) / 1024


CATCH_UP = 20_000
"""Ten times as many as are in memory at once; with 100,000 the process needs no more (measured), and minutes."""
MIB_AT_MOST = 200


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_a_catch_up_needs_little_memory(
    broker: JetStream, endpoint: Endpoint, tmp_path: Path, account_url: str
) -> None:
    """One process of its own, as an operator starts it; its memory is what the kernel has counted at most."""
    body = json.dumps(PLACED).encode()
    for first in range(0, CATCH_UP, 1_000):
        batch = [
            Outgoing(f"evt.ordering.OrderPlaced.o-{n}", {MSG_ID: f"ordering/order-o-{n}@1"}, body)
            for n in range(first, first + 1_000)
        ]
        await broker.publish_batch(batch)
    environ = environment(account_url, tmp_path) | {
        "CHORUS_FORWARD_URL": endpoint.url,
        "CHORUS_FORWARD_SECRET": SECRET,
    }
    command = [sys.executable, "-m", "shared.cli", "worker", "insights", "--group", "integration"]
    began = time.monotonic()
    async with await anyio.open_process(command, env=environ, stdout=None, stderr=None) as worker:
        with anyio.fail_after(500):
            while len(endpoint.got) < CATCH_UP:  # noqa: ASYNC110 - the endpoint counts.
                await anyio.sleep(0.2)
        took_s = time.monotonic() - began
        mib = at_most_mib(worker.pid)
        worker.terminate()
    print(f"{CATCH_UP / took_s:.0f} events/s, at most {mib:.0f} MiB")
    assert len(set(endpoint.ids)) == CATCH_UP
    assert mib < MIB_AT_MOST


async def test_a_worker_without_a_secret_does_not_start(
    broker: JetStream, endpoint: Endpoint, tmp_path: Path, account_url: str
) -> None:
    assert broker.reconnects == 0
    environ = environment(account_url, tmp_path) | {"CHORUS_FORWARD_URL": endpoint.url}
    ran = await run_chorus("worker", "insights", "--group", "integration", environ=environ)
    assert (ran.code, "the group integration has no secret to sign with" in ran.errors) == (78, True)


async def test_the_sender_tells_an_answer_from_none_and_quotes_no_password(endpoint: Endpoint) -> None:
    endpoint.status = lambda identity: 302 if identity == "moved" else 202
    sender = HttpSender(endpoint.url, timeout_s=5.0)
    assert (await sender.send({"ce-id": "moved"}, b"{}")).status == 302
    assert (await sender.send({"ce-id": "here"}, b"{}")).status == 202
    await sender.close()
    away = HttpSender("http://user:a-password@127.0.0.1:1/hook", timeout_s=5.0)
    with pytest.raises(NoReplyError) as refused:
        await away.send({"ce-id": "here"}, b"{}")
    assert "a-password" not in str(refused.value)
    await away.close()
