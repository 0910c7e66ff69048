"""The read side on a real server: buckets as the nats command reads them, a killed group, a bucket that is lost."""

import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from shared import catalog
from shared.adapters.clock import SystemClock
from shared.adapters.jetstream import JetStream, connect
from shared.adapters.sqlite.views.store import SqliteViewStore
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.derived.topology import declare
from shared.engine.monitor.alarms import Alarms
from shared.groups.process import GroupProcess
from shared.ports.broker import Outgoing
from shared.streams.apply import apply
from shared.wire.messages import MSG_ID, OCCURRED_AT
from tests.e2e.shop import NATS_CLI
from tests.integration.engine import TOPOLOGY
from tests.waiting import WITHIN_S, until

PLACED = {
    "order_id": "o-1",
    "customer_id": "c-1",
    "email": "ann@example.com",
    "lines": [{"sku": "mug", "quantity": 2, "unit_price": {"amount_minor": 250}}],
    "total": {"amount_minor": 500},
    "address": {"street": "Hauptstr. 1", "city": "Bern", "country": "CH", "postal_code": "3000"},
}


@pytest.fixture
async def broker(account_url: str) -> AsyncIterator[JetStream]:
    connected = await connect(ConnectionOptions(servers=(account_url,)), name="tests")
    await apply(connected.api, declare(TOPOLOGY, catalog.members(Settings()).values()))
    yield connected
    await connected.close()


@asynccontextmanager
async def projection(
    broker: JetStream, directory: Path, *, name: str = "projection", catch_up_from: int = 1_000, **settings: Any
) -> AsyncIterator[GroupProcess]:
    """The group at work; the end of the block kills it in the middle of its work."""
    group = catalog.load_all(catalog.settings_with(settings)).read_sides["insights"].group(name)
    assert group is not None
    clock = SystemClock()
    store = await SqliteViewStore.open(directory / f"insights-{name}.db", group)
    process = GroupProcess(
        "insights",
        group,
        store,
        broker,
        clock,
        alarms=Alarms(clock),
        priority_timeout_s=1.0,
        catch_up_from=catch_up_from,
    )
    async with process.at_work() as tasks:
        tasks.start_soon(process.run)
        yield process


async def say(broker: JetStream, event: str, version: int, **content: Any) -> int:
    """Publish an event of the order as ordering does; its sequence."""
    headers = {MSG_ID: f"ordering/order-o-1@{version}", OCCURRED_AT: "2020-11-28T09:00:00.000000Z"}
    body = json.dumps({"order_id": "o-1", **content}).encode()
    return (await broker.publish(Outgoing(f"evt.ordering.{event}.o-1", headers, body))).sequence


async def states(broker: JetStream) -> list[str]:
    """The states of the order that its bucket has kept, oldest first."""
    return [json.loads(stored.body)["state"] async for stored in broker.read("KV_orders", "$KV.orders.o-1")]


async def asked(broker: JetStream, **asked: Any) -> Mapping[str, Any]:
    _, body = await broker.request("api.insights.Order", json.dumps(asked).encode(), {}, WITHIN_S)
    answer: Mapping[str, Any] = json.loads(body)
    return answer


async def test_a_bucket_goes_on_after_a_kill_and_is_written_again_when_it_is_lost(
    broker: JetStream, tmp_path: Path
) -> None:
    async with projection(broker, tmp_path) as process:
        placed = await say(broker, "OrderPlaced", 1, **PLACED)
        assert (await asked(broker, order_id="o-1", at_least=placed, within_s=30))["order"]["state"] == "PENDING"
        await until(lambda: process.is_resting, "the bucket has the order")
    confirmed = await say(broker, "OrderConfirmed", 2)
    async with projection(broker, tmp_path) as process:
        answer = await asked(broker, order_id="o-1", at_least=confirmed, within_s=30)
        assert (answer["order"]["state"], answer["as_of"]["sequence"]) == ("CONFIRMED", confirmed)
        await until(lambda: process.is_resting, "the bucket has the change")
    assert await states(broker) == ["PENDING", "CONFIRMED"]
    await broker.api("$JS.API.STREAM.DELETE.KV_orders", b"")
    await apply(broker.api, declare(TOPOLOGY, catalog.members(Settings()).values()))
    async with projection(broker, tmp_path) as process:
        await until(lambda: process.is_resting, "the bucket is written again")
    assert await states(broker) == ["CONFIRMED"]


async def test_a_group_that_is_far_behind_reads_all_of_the_stream_and_then_only_what_it_hears(
    broker: JetStream, tmp_path: Path
) -> None:
    await say(broker, "OrderPlaced", 1, **PLACED)
    unheard = await say(broker, "OrderDeadlineExtended", 2, expires_at="2026-11-28T10:00:00Z")
    async with projection(broker, tmp_path, catch_up_from=0) as process:
        await until(lambda: process.is_resting, "the group has caught up")
        assert (process.progress.folded, process.progress.known.sequence) == (1, unheard)
        all_events = await broker.consumer_info("EVENTS", "insights-projection-all")
        assert all_events.delivered_sequence == unheard
        confirmed = await say(broker, "OrderConfirmed", 3)
        assert (await asked(broker, order_id="o-1", at_least=confirmed, within_s=30))["order"]["state"] == "CONFIRMED"
        heard = await broker.consumer_info("EVENTS", "insights-projection")
        assert heard.delivered_sequence == confirmed


async def test_windows_of_a_quiet_stream_are_closed_once(broker: JetStream, tmp_path: Path) -> None:
    """A second database, which folds everything again, hears that they are closed, and says nothing."""
    await say(broker, "OrderPlaced", 1, **PLACED)
    closed = "evt.insights.WindowClosed.*.*"
    for number in range(2):
        async with projection(broker, tmp_path / str(number), name="analytics") as process:
            await until(lambda: process.is_resting and process.progress.folded == 1, "the windows are closed")
        found = [stored.subject.rpartition(".")[2] async for stored in broker.read("EVENTS", closed)]
        assert found == ["minute-20201128T0900Z", "hour-20201128T0900Z"]


async def test_the_nats_command_reads_a_bucket_and_its_history(
    broker: JetStream, account_url: str, tmp_path: Path
) -> None:
    if NATS_CLI is None:
        assert os.environ.get("CHORUS_REQUIRE_NATS_CLI") != "1", "there is no nats command on the PATH"
        pytest.skip("there is no nats command on the PATH")

    def kv(*words: str) -> str:
        assert NATS_CLI is not None
        command = [NATS_CLI, "--server", account_url, "kv", *words]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    async with projection(broker, tmp_path) as process:
        await say(broker, "OrderPlaced", 1, **PLACED)
        await until(lambda: process.is_resting and process.progress.folded == 1, "the bucket has the order")
        await say(broker, "OrderConfirmed", 2)
        await until(lambda: process.is_resting and process.progress.folded == 2, "the bucket has the change")
        got = await anyio.to_thread.run_sync(kv, "get", "orders", "o-1", "--raw")
        history = await anyio.to_thread.run_sync(kv, "history", "orders", "o-1")
    assert json.loads(got)["state"] == "CONFIRMED"
    assert history.count("PUT") == 2


async def test_frontend_reads_the_orders_of_the_customer_that_it_names_and_no_other(
    broker: JetStream, tmp_path: Path
) -> None:
    async with projection(broker, tmp_path, require_actor=True):
        placed = await say(broker, "OrderPlaced", 1, **PLACED)
        body = json.dumps({"order_id": "o-1", "at_least": placed, "within_s": 30}).encode()
        found = []
        for query, headers in (
            ("Order", {"Acting-For": "c-1"}),
            ("Order", {"Acting-For": "c-2"}),
            ("Order", {}),
            ("any.Order", {}),
        ):
            said, answer = await broker.request(f"api.insights.{query}", body, headers, WITHIN_S)
            found.append((said.get("Nats-Service-Error-Code", ""), "order" in json.loads(answer)))
        assert found == [("", True), ("403", False), ("403", False), ("", True)]
