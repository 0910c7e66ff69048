"""A server that dies, loses data, is tampered with, is full, or no longer answers (R2, R4, R5, R7, R12, F20)."""

import asyncio
import json
import re
from typing import Any

import pytest

from shared.adapters.jetstream.bounds import UNANSWERED_PINGS
from shared.ports.broker import BrokerRefusedError
from tests.chaos.order_mix import check_after_loss
from tests.chaos.proxy import Way, proxied
from tests.chaos.stage import Stage
from tests.e2e.ended import Ended
from tests.e2e.orders import PARTITIONS, check_all, orders_of, place_all
from tests.forking import run_chorus
from tests.sagas import CONTEXTS, SHIPPED
from tests.waiting import WITHIN_S

pytestmark = pytest.mark.asyncio(loop_scope="session")

CUTS = 3
PING = b"PING\r\n"
NOTICED = "the broker lost or replaced data"
RECONCILED = '"reconciled"'


class TestServerKilled:
    """The workers wait for the server and continue."""

    async def test_server_killed_while_publishing_is_waited_for(self, stage: Stage, ended: Ended) -> None:
        """F20: on a real server."""
        await stage.stock("killed", 1_000)
        orders = orders_of("o-killed", 40)
        await place_all(stage, orders, "killed")
        await stage.until(orders[0], "AuthorizationRequested")
        await stage.crash_the_server()
        await stage.start_the_server()
        await check_all(ended, orders)
        assert all(worker.running for worker in stage.workers.values())
        await stage.check_at_rest()


class TestConsumers:
    """Nothing is done twice, and nothing is skipped."""

    async def test_worker_resumes_when_a_deleted_consumer_is_recreated(self, stage: Stage, ended: Ended) -> None:
        await stage.stock("deleted", 100)
        for stream in ("EVENTS", "COMMANDS", "TIMERS"):
            for partition in range(PARTITIONS):
                await stage.api(f"CONSUMER.DELETE.{stream}.ordering-{partition}")
        orders = orders_of("o-deleted", 8)
        await place_all(stage, orders, "deleted")
        await stage.apply_streams()
        await check_all(ended, orders)
        await stage.check_at_rest()

    @pytest.mark.parametrize("ahead", [False, True], ids=["to 1", "ahead"])
    async def test_consumer_that_somebody_else_has_set_changes_nothing(
        self, stage: Stage, ended: Ended, ahead: bool
    ) -> None:
        name = f"set{int(ahead)}"
        await stage.stock(name, 100)
        orders = orders_of(f"o-{name}", 8)
        await place_all(stage, orders, name)
        await stage.until(orders[0], "OrderPlaced")
        for context in CONTEXTS:
            for partition in range(PARTITIONS):
                sequence = 10**6 if ahead else 1
                await stage.api(f"CONSUMER.RESET.EVENTS.{context}-{partition}", json.dumps({"seq": sequence}).encode())
        await check_all(ended, orders)
        more = orders_of(f"o-{name}x", 8)
        await place_all(stage, more, name)
        await check_all(ended, more)
        await stage.check_at_rest()


class TestStreamLost:
    """Workers notice the loss before they read on, log it, and mend the stream from their journals."""

    async def test_stream_that_was_deleted_and_made_again_gets_its_events_back(self, stage: Stage) -> None:
        await stage.stock("again", 100)
        orders = orders_of("o-again", 12)
        before = {context: len(stage.log(context)) for context in CONTEXTS}
        await place_all(stage, orders, "again")
        await stage.until(orders[0], "InventoryReserved")
        await stage.api("STREAM.DELETE.EVENTS")
        for context in CONTEXTS:
            await stage.logs(context, "stream not found", after=before[context])
        await stage.apply_streams()
        await stage.watcher.release()
        for context in CONTEXTS:
            await stage.logs(context, NOTICED, after=before[context])
            await stage.logs(context, RECONCILED, after=before[context])
        await check_after_loss(stage, SHIPPED, orders)
        await stage.check_at_rest()

    async def test_server_that_comes_back_with_an_older_copy_gets_back_what_it_lost(
        self, stage: Stage, ended: Ended
    ) -> None:
        """The copy has only the first orders; later ones were finished or under way when the server lost them."""
        await stage.stock("older", 1_000)
        early, finished, under_way, late = (orders_of(f"o-older{n}", 8) for n in range(4))
        await place_all(stage, early, "older")
        await check_all(ended, early)
        await stage.crash_the_server()
        copy = stage.keep_a_copy()
        await stage.start_the_server()
        await place_all(stage, finished, "older")
        await check_all(ended, finished)
        await place_all(stage, under_way, "older", token="tok_slow")
        for order in under_way:
            await stage.until(order, "AuthorizationRequested")
        before = {context: len(stage.log(context)) for context in CONTEXTS}
        await stage.crash_the_server()
        stage.bring_back(copy)
        await stage.start_the_server()
        await stage.watcher.release()
        for context in CONTEXTS:
            await stage.logs(context, NOTICED, after=before[context])
        await place_all(stage, late, "older")
        await check_all(ended, late)
        await check_after_loss(stage, SHIPPED, [*finished, *under_way])
        await stage.check_at_rest()


class TestFull:
    """The server refuses a command past the bound, and every accepted command is answered."""

    async def test_command_past_the_bound_is_refused_at_the_door(self, stage: Stage, ended: Ended) -> None:
        await stage.stock("full", 1_000)
        found = json.loads(await stage.api("STREAM.INFO.COMMANDS"))["config"]
        await stage.api("STREAM.UPDATE.COMMANDS", json.dumps({**found, "max_msgs": 10}).encode())
        await stage.kill("ordering")
        orders = orders_of("o-full", 16)
        for order in orders[:10]:
            await stage.place(order, "full", quickly=True)
        for order in orders[10:]:
            with pytest.raises(BrokerRefusedError) as refused:
                await stage.place(order, "full", quickly=True)
            assert refused.value.code == 10077
        await stage.start("ordering")
        await check_all(ended, orders[:10])
        await stage.apply_streams()
        await place_all(stage, orders[10:], "full")
        await check_all(ended, orders)
        await stage.check_at_rest()


class TestLine:
    """A connection that is cut at the worst moment, or goes dead silently."""

    async def test_publication_whose_acknowledgement_is_lost_is_stored_once(self, stage: Stage, ended: Ended) -> None:
        await stage.stock("cut", 100)
        orders = orders_of("o-cut", 8)
        acknowledgement = re.compile(rb'\{"stream":"EVENTS", ?"seq":')
        async with proxied(stage.url) as proxy:
            await stage.kill("ordering")
            await stage.start("ordering", via=proxy.url)

            def cut(way: Way, chunk: bytes) -> None:
                if way == "to the client" and acknowledgement.search(chunk) and proxy.accepted <= CUTS:
                    proxy.cut()

            proxy.watch(cut)
            await place_all(stage, orders, "cut")
            await check_all(ended, orders)
            assert proxy.accepted > CUTS
            await stage.check_at_rest()
            await stage.be_whole()

    async def test_line_that_goes_dead_is_noticed_within_two_pings(self, stage: Stage, ended: Ended) -> None:
        await stage.stock("dead", 100)
        orders = orders_of("o-dead", 8)
        async with proxied(stage.url) as proxy:
            await stage.kill("payments")
            await stage.start("payments", via=proxy.url)
            pings = 0

            def count_pings(way: Way, chunk: bytes) -> None:
                nonlocal pings
                if way == "to the server" and proxy.accepted == 1:
                    pings += chunk.count(PING)

            proxy.watch(count_pings)
            proxy.go_dead()
            await place_all(stage, orders, "dead")
            async with asyncio.timeout(WITHIN_S):
                await proxy.until_accepted(2)
            await check_all(ended, orders)
            await stage.check_at_rest()
            await stage.be_whole()
        assert pings <= 1 + UNANSWERED_PINGS


class TestReconcile:
    """`chorus reconcile`, as an operator runs it."""

    async def test_operator_has_lost_events_published_again(self, stage: Stage) -> None:
        """The workers are down, and the database of one is on this machine."""
        await stage.stock("mended", 100)
        orders = orders_of("o-mended", 8)
        await place_all(stage, orders, "mended")
        for order in orders:
            await stage.until(order, "OrderShipped")
        await stage.check_at_rest()
        code, said = await reconcile(stage, "--dry-run")
        assert (code, [context["missing"] for context in said]) == (0, [[]])
        await stage.kill(*CONTEXTS)
        await stage.api("STREAM.DELETE.EVENTS")
        await stage.apply_streams()
        await stage.watcher.release()
        code, said = await reconcile(stage, "--dry-run")
        assert code == 1
        assert f"ordering/order-{orders[0]}@1" in said[0]["missing"]
        code, said = await reconcile(stage)
        assert code == 0
        assert said[0]["missing"] == []
        assert said[0]["published"] > len(orders)
        await stage.be_whole()
        await check_after_loss(stage, SHIPPED, orders)
        await stage.check_at_rest()


async def reconcile(stage: Stage, *arguments: str) -> tuple[int, Any]:
    """Run the command on the machine of ordering: its exit code and its JSON output."""
    environ = {**stage.environ, "CHORUS_DATA_DIR": str(stage.data_dir("ordering"))}
    ran = await run_chorus("reconcile", "--json", *arguments, environ=environ)
    return ran.code, json.loads(ran.output)
