"""A message on which our code fails is parked with all later ones of its key, until an operator retries or skips it."""

import getpass
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct
from structlog.testing import capture_logs

from contexts.inventory.policies import whenever_order_placed_reserve_its_lines
from contexts.inventory.settings import InventorySettings
from contexts.inventory.upstream import OrderPlaced
from contexts.inventory.worker import context as inventory
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.context import Context
from shared.engine.decide.commit import Batch, Progress, commit
from shared.engine.route.routing import Routing
from shared.ports.clock import moment
from shared.ports.store import Transaction
from shared.repair import parked, unresolved
from shared.wire.messages import FROM_SUBJECT
from tests.integration import till as tills
from tests.integration.engine import PARTITIONS, Counter, running
from tests.integration.keys import NEIGHBOUR, TILL
from tests.integration.storeroom import storeroom
from tests.integration.till import JAMS_AT, stuck_till, till
from tests.waiting import until


def waiting_in(directory: Path, context: str = "till") -> list[unresolved.Parked]:
    return parked.parked_in(SqliteDatabases(directory), [context])


class TestParking:
    """A message on which our code raises waits, with all later ones of its key, for an operator."""

    async def test_retry_after_the_code_is_mended_resumes_in_order(self, counter: Counter, tmp_path: Path) -> None:
        """F21: the first message and all that wait behind it, while the neighbour is not held up."""
        stuck = tmp_path / "stuck"
        stuck.write_text("13")
        async with running(counter, stuck_till(stuck)):
            for amount in (5, JAMS_AT, 6, 7):
                await counter.ring(TILL, amount)
            await counter.ring(NEIGHBOUR, 1)
            await counter.watcher.until(NEIGHBOUR, "Rung")
            assert counter.totals(TILL) == [5]
            waiting = waiting_in(tmp_path)
            assert [bool(message.reason) for message in waiting] == [True, False, False]
            assert waiting[0].cause == "RuntimeError: the drawer is stuck at 13"
            stuck.unlink()
            assert await parked.retry(SqliteDatabases(tmp_path), unresolved.choose(waiting, TILL), who="ann") == 3
            await counter.watcher.until(TILL, "Rung", times=4)
            await counter.ring(TILL, 8)
            await counter.watcher.until(TILL, "Rung", times=5)
        assert counter.totals(TILL) == [5, 18, 24, 31, 39]
        assert waiting_in(tmp_path) == []
        assert len(counter.letters.facts) == 1

    async def test_alarm_is_logged_once_and_a_gauge_shows_how_many_wait(self, counter: Counter, tmp_path: Path) -> None:
        stuck = tmp_path / "stuck"
        stuck.write_text("13")
        with capture_logs() as lines:
            async with running(counter, stuck_till(stuck)) as loop:
                for amount in (JAMS_AT, 6, 7):
                    await counter.ring(TILL, amount, f"m-{amount}")
                await until(lambda: loop.counters.parked == 3)
            async with running(counter, stuck_till(stuck)) as loop:
                assert (loop.counters.parked, loop.counters.batches) == (3, 0)
                await counter.ring(NEIGHBOUR, 1)
                await counter.watcher.until(NEIGHBOUR, "Rung")
                assert loop.counters.parked == 3
                stuck.unlink()
                await parked.retry(SqliteDatabases(tmp_path), waiting_in(tmp_path), who="ann")
                await until(lambda: loop.counters.parked == 0)
        (alarm,) = [line for line in lines if line["event"] == "parked"]
        assert (alarm["log_level"], alarm["key"], alarm["message"]) == ("error", TILL, f"m-{JAMS_AT}")
        assert "the drawer is stuck at 13" in alarm["reason"]

    async def test_retry_of_the_first_resumes_all_that_wait_behind_it_however_many(
        self, counter: Counter, tmp_path: Path
    ) -> None:
        stuck = tmp_path / "stuck"
        stuck.write_text("13")
        async with running(counter, stuck_till(stuck), batch_at_most=4):
            for amount in (JAMS_AT, *range(100, 110)):
                await counter.ring(TILL, amount)
            await until(lambda: len(waiting_in(tmp_path)) == 11)
            stuck.unlink()
            first = waiting_in(tmp_path)[0]
            await parked.retry(SqliteDatabases(tmp_path), [first], who="ann")
            await counter.watcher.until(TILL, "Rung", times=11)
        amounts = [fact.content["amount"] for fact in counter.watcher.about(TILL) if fact.type == "Rung"]
        assert amounts == [JAMS_AT, *range(100, 110)]

    async def test_retry_that_fails_again_stays_until_it_is_asked_for_again(
        self, counter: Counter, tmp_path: Path
    ) -> None:
        stuck = tmp_path / "stuck"
        tried: list[int] = []
        stuck.write_text("13 17")
        async with running(counter, stuck_till(stuck, tried)):
            for amount in (JAMS_AT, 6, 17, 7):
                await counter.ring(TILL, amount)
            await until(lambda: len(waiting_in(tmp_path)) == 4)
            await parked.retry(SqliteDatabases(tmp_path), waiting_in(tmp_path), who="ann")
            await until(lambda: tried == [JAMS_AT, JAMS_AT])
            await until(lambda: not any(message.verdict for message in waiting_in(tmp_path)))
            assert len(waiting_in(tmp_path)) == 4
            stuck.write_text("17")
            await parked.retry(SqliteDatabases(tmp_path), waiting_in(tmp_path), who="ann")
            await counter.watcher.until(TILL, "Rung", times=2)
            await until(lambda: not any(message.verdict for message in waiting_in(tmp_path)))
            now_first, behind = waiting_in(tmp_path)
        assert counter.totals(TILL) == [13, 19]
        assert (now_first.cause, behind.cause) == ("RuntimeError: the drawer is stuck at 17", "")
        assert tried == [JAMS_AT, JAMS_AT, JAMS_AT, 17]
        assert len(counter.letters.facts) == 1

    async def test_skip_goes_on_behind_and_keeps_who_said_so_and_why(self, counter: Counter, tmp_path: Path) -> None:
        async with running(counter):
            for amount in (5, JAMS_AT, 6):
                await counter.ring(TILL, amount, f"m-{amount}")
            await until(lambda: len(waiting_in(tmp_path)) == 2)
            first = waiting_in(tmp_path)[0]
            assert (
                await parked.skip(SqliteDatabases(tmp_path), first, who="ann", why="a coin of 13 does not exist") == 1
            )
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [5, 11]
        skipped = counter.rows("SELECT key, message_id, who, why, reason LIKE '%the drawer jams%' FROM skipped")
        assert skipped == [(TILL, f"m-{JAMS_AT}", "ann", "a coin of 13 does not exist", 1)]
        assert counter.rows("SELECT at FROM skipped") > [("2026",)]

    async def test_command_that_is_refused_when_it_is_tried_again_is_answered(
        self, counter: Counter, tmp_path: Path
    ) -> None:
        class Ring(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
            """Take an amount, as the till of the next release does."""

            till_id: Annotated[str, FROM_SUBJECT] = ""
            amount: Annotated[int, Meta(gt=0, le=12)]

        async with running(counter):
            await counter.ring(TILL, JAMS_AT)
            await until(lambda: len(waiting_in(tmp_path)) == 1)
        context = till()
        (decider,) = context.deciders
        mended = replace(
            context, accepts=(Ring,), deciders=(replace(decider, commands=(Ring, tills.Ring, tills.Close)),)
        )
        await parked.retry(SqliteDatabases(tmp_path), waiting_in(tmp_path), who="ann")
        async with running(counter, replace(mended, effects=())):
            rejected = await counter.watcher.until(TILL, "CommandRejected")
            assert rejected.content["details"][0]["path"] == "$.amount"
        assert waiting_in(tmp_path) == []

    async def test_parked_message_that_another_process_has_decided_is_not_decided_again(
        self, counter: Counter, tmp_path: Path
    ) -> None:
        stuck = tmp_path / "stuck"
        stuck.write_text("13")
        async with running(counter, stuck_till(stuck)):
            await counter.ring(TILL, JAMS_AT)
            await until(lambda: len(waiting_in(tmp_path)) == 1)
        stuck.unlink()
        await parked.retry(SqliteDatabases(tmp_path), waiting_in(tmp_path), who="ann")
        routing = Routing(stuck_till(stuck), partitions=PARTITIONS)
        store = await SqliteStore.open(tmp_path / "till.db", context="till")
        try:
            (waiting,) = await store.read(lambda transaction: transaction.parked.with_verdict([0, 1], limit=9))

            def decide(transaction: Transaction) -> int:
                batch = Batch([routing.parked(waiting)], [], Progress([], {}), [0, 1], 0, moment(0))
                return len([row for row in commit(transaction, routing, batch).rows if row.row.type == "Rung"])

            assert [await store.transact(decide), await store.transact(decide)] == [1, 0]
        finally:
            await store.close()

    async def test_poison_of_any_size_leaves_a_letter_that_the_server_takes(self, counter: Counter) -> None:
        async with running(counter):
            await counter.scan_body(TILL, b"\x00" * 900_000, "scanner/scan-t-1@1")
            letter = await counter.letters.until(TILL, "GoodsScanned")
            await counter.ring(NEIGHBOUR, 1)
            await counter.watcher.until(NEIGHBOUR, "Rung")
        assert "900000 bytes are more than the 65536" in letter.content["reason"]


def with_a_bug(context: Context, bug: Path) -> Context:
    """Inventory, whose reaction to order o-1 raises while the file exists."""

    def whenever(event: OrderPlaced) -> list[Any]:
        if bug.exists() and event.order_id == "o-1":
            raise LookupError("nobody has thought of this")
        return list(whenever_order_placed_reserve_its_lines(event))

    policies = [
        replace(policy, whenever=whenever) if policy.event is OrderPlaced else policy for policy in context.policies
    ]
    return replace(context, policies=tuple(policies))


async def test_operator_finds_a_parked_order_and_retries_or_skips_it(account_url: str, tmp_path: Path) -> None:
    bug = tmp_path / "bug"
    bug.touch()
    async with storeroom(account_url, tmp_path) as room:
        async with running(room, with_a_bug(inventory(InventorySettings()), bug)):
            price = b'{"name": "Mug", "unit_price": {"amount_minor": 1}}'
            await room.publish("cmd.inventory.RegisterStockItem.mug", price)
            await room.publish("cmd.inventory.ReplenishStock.mug", b'{"quantity": 9, "delivery_id": "d-1"}')
            await room.watcher.until("mug", "StockLevelChanged")
            await room.order("o-1")
            await room.cancel("o-1")
            await room.order("o-2")
            await room.watcher.until("o-2", "InventoryReserved")
            letter = await room.letters.until("o-1", "OrderPlaced")
            assert "LookupError: nobody has thought of this" in letter.content["reason"]
            assert "whenever" in letter.content["reason"]

            told = await room.chorus("parked", "ls", exits=1)
            assert "inventory/1" in told
            assert "LookupError: nobody has thought" in told
            assert "waits behind the one before" in told
            listed = json.loads(await room.chorus("parked", "ls", "inventory", "--json", exits=1))
            assert [(one["number"], one["key"], one["message_id"]) for one in listed] == [
                ("inventory/1", "o-1", "ordering/order-o-1@1"),
                ("inventory/2", "o-1", "ordering/order-o-1@2"),
            ]
            assert listed[0]["cause"] == "LookupError: nobody has thought of this"
            shown = await room.chorus("parked", "show", "inventory/1")
            assert "raise LookupError" in shown
            assert '"quantity":2' in shown
            assert "nothing is parked as 'o-2'; parked keys: o-1" in await room.chorus(
                "parked", "retry", "o-2", exits=1
            )

            behind = await room.chorus("parked", "skip", "inventory/2", "--why", "x", "--yes", exits=1)
            assert "'inventory/2' cannot be skipped: it waits behind inventory/1; retry or skip that first" in behind

            said = json.loads(await room.chorus("parked", "retry", "o-1", "--no-wait", "--json"))
            assert said == {"retried": 2, "keys": ["o-1"]}
            await until(lambda: not any(message.verdict for message in waiting_in(tmp_path, "inventory")))
            assert await room.chorus("parked", "retry", "o-1", exits=1) == (
                "inventory/1  ordering/order-o-1@1  parked again: LookupError: nobody has thought of this\n"
                "inventory/2  ordering/order-o-1@2  still waits behind the one before\n"
            )
            assert len(waiting_in(tmp_path, "inventory")) == 2

            assert "cannot ask for confirmation" in await room.chorus(
                "parked", "skip", "inventory/1", "--why", "x", exits=64
            )
            skipped_now = await room.chorus("parked", "skip", "inventory/1", "--why", "a test order", "--yes")
            assert skipped_now == "inventory/1  ordering/order-o-1@1  skipped\n"
            await room.watcher.until("o-1", "InventoryReleased")
            assert await room.chorus("parked", "ls") == "nothing is parked\n"
            assert [said for said in room.watcher.told("o-1") if "Message" not in said] == [
                "ordering.OrderPlaced", "ordering.OrderCancelled", "inventory.InventoryReleased",
            ]  # fmt: skip
        skipped = room.rows("SELECT message_id, who, why FROM skipped")
        assert skipped == [("ordering/order-o-1@1", getpass.getuser(), "a test order")]
