"""The commands of an operator beside a running `chorus up`."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
import pytest_asyncio

from tests.e2e.up import ORDER, Up, chorus_up, followed_until, stock
from tests.waiting import WITHIN_S


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
        async with up.watched() as watcher:
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
        async with up.watched() as watcher:
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
