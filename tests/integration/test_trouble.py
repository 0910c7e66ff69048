"""A context refuses or parks forged, doubled, contradictory, poisonous and excessive messages, and reports them."""

import asyncio
import getpass
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import pytest
import pytest_asyncio
from msgspec import Meta, Struct
from structlog.testing import capture_logs

from contexts.inventory.policies import whenever_order_placed_reserve_its_lines
from contexts.inventory.upstream import OrderPlaced
from contexts.inventory.worker import context as inventory
from shared import catalog
from shared.adapters.jetstream import connect
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.adapters.sqlite.reading import open_read_only
from shared.config.connection import ConnectionOptions
from shared.config.settings import Settings
from shared.context import Context
from shared.engine.api import api_of
from shared.engine.decide.commit import Batch, Progress, commit
from shared.engine.decide.routing import Routing
from shared.ports.broker import BrokerRefusedError
from shared.ports.clock import moment
from shared.ports.store import Transaction
from shared.repair import parked
from shared.repair.rebuild import rebuild
from shared.run.server import local_server
from shared.streams.apply import apply
from shared.topology import declare
from shared.wire.messages import FROM_SUBJECT, content_hash, partition_of
from shared.wire.streams import COMMANDS, EVENTS, TIMERS
from tests.e2e.shop import NATS_CLI
from tests.forking import run_chorus
from tests.integration import till as tills
from tests.integration.engine import PARTITIONS, TOPOLOGY, Counter, running, standing
from tests.integration.till import JAMS_AT, scanner, till
from tests.integration.wire import Wire, header_block, wire
from tests.waiting import WITHIN_S, until
from tests.watching import watching

TILL = "t-1"
NEIGHBOUR = next(f"n-{n}" for n in range(99) if partition_of(f"n-{n}", PARTITIONS) == partition_of(TILL, PARTITIONS))
"""Another till in the same partition."""
STRANGER = next(f"n-{n}" for n in range(99) if partition_of(f"n-{n}", PARTITIONS) != partition_of(TILL, PARTITIONS))
"""One in the other partition."""
RING_5 = b'{"amount": 5}'
FORGETFUL = timedelta(milliseconds=100)


def waiting_in(directory: Path, context: str = "till") -> list[parked.Parked]:
    return parked.parked_in(SqliteDatabases(directory), [context])


@pytest.fixture
async def counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    async with standing(account_url, tmp_path) as counter:
        yield counter


@pytest.fixture
async def forgetful_counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    """Its server stores a message again soon after it stored one with the same id."""
    async with standing(account_url, tmp_path, remembers=FORGETFUL) as counter:
        yield counter


async def stored_again(publish: Callable[[], Awaitable[Any]]) -> None:
    """Publish until the server has forgotten the id and stores the message once more."""
    with anyio.fail_after(WITHIN_S):
        while (await publish()).duplicate:
            pass


FORGED = {
    "a status": (b"%s", header_block(Status="503", Description="No Responders")),
    "a status that is no number": (b"%s", header_block(Status="many")),
    "a lost pin": (b"%s", header_block(Status="423")),
    "a status line": (b"%s", b"NATS/1.0 409 Leadership Change\r\n\r\n"),
    "a status line of bytes": (b"%s", b"NATS/1.0 \xff\xff\xff\r\n\r\n"),
    "no header block at all": (b"%s", b"abc"),
    "an empty header block": (b"%s", b"NATS/1.0\r\n\r\n"),
    "a pin": (b"%s", header_block(Nats_Pin_Id="mine")),
    "a place in a stream": (b"%s", header_block(Nats_Sequence="99", Nats_Subject="x", Nats_Time_Stamp="?")),
    "an id of bytes": (b"%s", b"NATS/1.0\r\nNats-Msg-Id: \xff\xfe\r\n\r\n"),
    "a key that is not UTF-8": (b"\xff%s", None),
    "a key with a vertical tab": (b"a\x0b%s", None),
    "a key with a form feed": (b"a\x0c%s", None),
    "a key with NUL": (b"a\x00%s", None),
    "the key of all": (b"*", None),
    "the key of all that follows": (b">", None),
    "a key without end": (b"%s" + b"k" * 2_000, None),
}
REFUSED_AT_THE_DOOR = {
    "a schedule": (
        header_block(Nats_Schedule="@at 2030-01-01T00:00:00Z", Nats_Schedule_Target="evt.till.Rung.x"),
        10188,
    ),
    "a time to live": (header_block(Nats_TTL="1s"), 10166),
    "a rollup": (header_block(Nats_Rollup="all"), 10111),
    "a batch": (header_block(Nats_Batch_Id="b", Nats_Batch_Sequence="1"), 10174),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_wire(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[Counter, Wire]]:
    """A counter with a worker behind it, and a wire to say what one likes."""
    directory = tmp_path_factory.mktemp("wire")
    over = anyio.Event()

    async def work(counter: Counter) -> None:
        async with running(counter):
            await over.wait()

    async with (
        local_server(directory / "nats") as server,
        standing(server.url, directory) as counter,
        wire(server.url) as hand,
    ):
        worker = asyncio.create_task(work(counter))
        yield counter, hand
        over.set()
        await worker


@pytest.mark.asyncio(loop_scope="module")
class TestForged:
    """A message that no client library would send neither stops the worker nor stays in the stream."""

    @pytest.mark.parametrize(("key", "headers"), FORGED.values(), ids=FORGED.keys())
    async def test_command_is_answered_and_its_neighbours_go_on(
        self, open_wire: tuple[Counter, Wire], key: bytes, headers: bytes | None, request: pytest.FixtureRequest
    ) -> None:
        counter, hand = open_wire
        own = f"f-{content_hash(request.node.name.encode()).hex()}"
        heard = len(counter.watcher.facts)
        said = await hand.publish(b"cmd.till.Ring." + key.replace(b"%s", own.encode()), RING_5, headers)
        assert said["stream"] == COMMANDS, said
        for neighbour in (NEIGHBOUR, STRANGER):
            before = counter.watcher.types(neighbour)["Rung"]
            await counter.ring(neighbour, 1)
            await counter.watcher.until(neighbour, "Rung", times=before + 1)
        await until(lambda: any(fact.key in (own, "unkeyed") for fact in counter.watcher.facts[heard:]))
        answer = next(fact for fact in counter.watcher.facts[heard:] if fact.key in (own, "unkeyed"))
        assert answer.type == ("Rung" if key == b"%s" and b"Nats-Msg-Id" not in (headers or b"") else "CommandRejected")
        if answer.type == "CommandRejected":
            assert answer.content["details"][0]["path"] in ("subject", "Nats-Msg-Id")
        await until_idle(counter)

    @pytest.mark.parametrize(("headers", "code"), REFUSED_AT_THE_DOOR.values(), ids=REFUSED_AT_THE_DOOR.keys())
    async def test_order_to_the_server_is_refused_at_the_door(
        self, open_wire: tuple[Counter, Wire], headers: bytes, code: int
    ) -> None:
        _, hand = open_wire
        assert (await hand.publish(b"cmd.till.Ring.t-1", RING_5, headers))["error"]["err_code"] == code

    @pytest.mark.parametrize("status", [b"NATS/1.0\r\nStatus: 204\r\n\r\n", b"NATS/1.0 404 Not Found\r\n\r\n"])
    async def test_event_that_says_it_is_the_end_is_not(self, open_wire: tuple[Counter, Wire], status: bytes) -> None:
        counter, hand = open_wire
        body = b'{"till_id": "%s", "amount": 3}' % NEIGHBOUR.encode()
        place = (await hand.publish(b"evt.scanner.GoodsScanned.%s" % NEIGHBOUR.encode(), body, status))["seq"]
        await counter.ring(NEIGHBOUR, 4)
        last = (await counter.broker.stream_info(EVENTS)).last_sequence
        read = [stored.sequence async for stored in counter.broker.read(EVENTS, "evt.>", first=place, up_to=last)]
        assert read == list(range(place, last + 1))
        stored = await counter.broker.get(EVENTS, place)
        assert stored is not None
        assert stored.body == body

    async def test_message_larger_than_the_server_takes_is_refused_for_good(
        self, open_wire: tuple[Counter, Wire]
    ) -> None:
        counter, _ = open_wire
        with pytest.raises(BrokerRefusedError, match="max_payload"):
            await counter.publish("cmd.till.Ring.t-1", b" " * (2**20 + 1))


class TestDoubles:
    """The same id again."""

    async def test_command_that_comes_twice_within_the_window_is_stored_once(self, counter: Counter) -> None:
        first = await counter.ring(TILL, 5, "m-1")
        second = await counter.ring(TILL, 5, "m-1")
        other = await counter.ring(TILL, 6, "m-1")
        assert [one.duplicate for one in (first, second, other)] == [False, True, True]
        async with running(counter):
            await counter.ring(TILL, 1, "m-2")
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [5, 6]

    async def test_request_that_comes_twice_is_told_so(self, counter: Counter) -> None:
        body = b'{"till_id": "t-1", "amount": 5}'
        async with running(counter):
            await counter.ring(NEIGHBOUR, 1)
            await counter.watcher.until(NEIGHBOUR, "Rung")
            answers = [
                json.loads((await counter.broker.request("api.till.Ring", body, {"Nats-Msg-Id": "m-1"}, 5.0))[1])
                for _ in range(2)
            ]
            await counter.watcher.until(TILL, "Rung")
        assert [answer["duplicate"] for answer in answers] == [False, True]
        assert counter.totals(TILL) == [5]

    async def test_doubles_after_the_window_have_no_effect_over_a_restart_and_a_rebuild(
        self, forgetful_counter: Counter
    ) -> None:
        counter = forgetful_counter
        async with running(counter):
            await counter.ring(TILL, 5, "m-1")
            await counter.scan(TILL, 2, "scanner/scan-1@1")
            await counter.watcher.until(TILL, "Rung", times=2)
        for database_is_lost in (False, True):
            if database_is_lost:
                await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
            await stored_again(partial(counter.ring, TILL, 5, "m-1"))
            await stored_again(partial(counter.scan, TILL, 2, "scanner/scan-1@1"))
            await stored_again(partial(counter.ring, TILL, 6, "m-1"))
            heard = counter.watcher.types(NEIGHBOUR)["Rung"]
            async with running(counter):
                await counter.scan(NEIGHBOUR, 1, f"scanner/scan-{heard + 2}@1")
                await counter.watcher.until(NEIGHBOUR, "Rung", times=heard + 1)
                await until_idle(counter)
        assert sorted(counter.totals(TILL)) in ([2, 7], [5, 7])
        assert counter.watcher.types(TILL)["CommandRejected"] == 1

    async def test_conflict_can_neither_be_told_beforehand_nor_stop_the_worker(
        self, forgetful_counter: Counter
    ) -> None:
        """Ids are public, so a client could guess what the inbox will remember of a conflict."""
        counter = forgetful_counter
        async with running(counter):
            await counter.ring(TILL, 5, "m-1")
            await counter.watcher.until(TILL, "Rung")
        marker = content_hash(b'{"amount": 6}').hex()
        await stored_again(partial(counter.ring, TILL, 6, "m-1"))
        await counter.ring(TILL, 7, f"m-1~{marker}")
        await counter.ring(TILL, 8, f"m-1 {marker}")
        async with running(counter):
            await counter.watcher.until(TILL, "CommandRejected", times=2)
        reasons = [fact.content["reason"] for fact in counter.watcher.about(TILL) if fact.type == "CommandRejected"]
        assert reasons == ["message_id_reused", "malformed"]
        assert counter.totals(TILL) == [5, 12]

    async def test_command_cannot_take_the_place_of_an_event_to_come(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring(TILL, 5, "scanner/scan-1@1")
            rejected = await counter.watcher.until(TILL, "CommandRejected")
            await counter.scan(TILL, 2, "scanner/scan-1@1")
            await counter.watcher.until(TILL, "Rung")
        assert rejected.content["details"][0]["path"] == "Nats-Msg-Id"
        assert counter.totals(TILL) == [2]


async def until_idle(counter: Counter) -> None:
    """Wait until every command has been answered."""
    with anyio.fail_after(WITHIN_S):
        while (await counter.broker.stream_info(COMMANDS)).messages:
            pass


def stuck_till(stuck: Path, tried: list[int] | None = None) -> Context:
    """A till whose drawer cannot take 13 or 17 while the file exists."""

    def decide(command: tills.Command, state: tills.Till) -> tuple[Any, ...]:
        if isinstance(command, tills.Ring) and command.amount in (JAMS_AT, 17):
            if tried is not None:
                tried.append(command.amount)
            if stuck.exists() and str(command.amount) in stuck.read_text():
                raise RuntimeError(f"the drawer is stuck at {command.amount}")
            return (tills.Rung(till_id=command.till_id, amount=command.amount, total=state.total + command.amount),)
        return tills.decide(command, state)

    context = till()
    (decider,) = context.deciders
    return replace(context, deciders=(replace(decider, decide=decide),))


class TestParking:
    """A message on which our code raises waits with all later ones of its key until somebody has looked."""

    async def test_retry_after_the_code_is_mended_resumes_in_order(self, counter: Counter, tmp_path: Path) -> None:
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
            assert await parked.retry(SqliteDatabases(tmp_path), parked.choose(waiting, TILL), who="ann") == 3
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
                await until(lambda: loop.parked == 3)
            async with running(counter, stuck_till(stuck)) as loop:
                assert (loop.parked, loop.batches) == (3, 0)
                await counter.ring(NEIGHBOUR, 1)
                await counter.watcher.until(NEIGHBOUR, "Rung")
                assert loop.parked == 3
                stuck.unlink()
                await parked.retry(SqliteDatabases(tmp_path), waiting_in(tmp_path), who="ann")
                await until(lambda: loop.parked == 0)
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
            await counter.publish(f"evt.scanner.GoodsScanned.{TILL}", b"\x00" * 900_000, "scanner/scan-1@1")
            letter = await counter.letters.until(TILL, "GoodsScanned")
            await counter.ring(NEIGHBOUR, 1)
            await counter.watcher.until(NEIGHBOUR, "Rung")
        assert "900000 bytes are more than the 65536" in letter.content["reason"]


PLACED: dict[str, Any] = {
    "order_id": "o-1",
    "lines": [{"sku": "mug", "quantity": 2, "unit_price": {"amount_minor": 1}}],
}
CANCELLED = {"order_id": "o-1", "reason": "customer", "from_state": "PENDING", "lines": []}


class Storeroom(Counter):
    """A counter over the streams of the whole shop, of which only inventory is at work."""

    async def order(self, key: str) -> None:
        await self.publish(
            f"evt.ordering.OrderPlaced.{key}",
            msgspec.json.encode({**PLACED, "order_id": key}),
            f"ordering/order-{key}@1",
        )

    async def cancel(self, key: str) -> None:
        body = msgspec.json.encode({**CANCELLED, "order_id": key})
        await self.publish(f"evt.ordering.OrderCancelled.{key}", body, f"ordering/order-{key}@2")

    def rows(self, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Read inventory's database beside its worker."""
        with closing(open_read_only(self.directory / "inventory.db")) as database:
            return database.execute(query, parameters).fetchall()

    async def chorus(self, *words: str, exits: int = 0) -> str:
        """Run a command as an operator would."""
        environ = {**os.environ, "CHORUS_DATA_DIR": str(self.directory)}
        ran = await run_chorus(*words, environ=environ)
        assert ran.code == exits, ran.errors
        return ran.output or ran.errors


@asynccontextmanager
async def storeroom(url: str, directory: Path) -> AsyncIterator[Storeroom]:
    broker = await connect(ConnectionOptions(servers=(url,)), name="tests")
    members = [catalog.load(name, Settings()) for name in catalog.names()]
    await apply(broker.api, declare(TOPOLOGY, members))
    async with (
        watching(url, EVENTS) as events,
        watching(url, TIMERS) as timers,
        watching(url, "DEAD_LETTERS") as letters,
    ):
        yield Storeroom(url, directory, broker, {EVENTS: events, TIMERS: timers, "DEAD_LETTERS": letters})
    await broker.close()


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


async def test_operator_finds_a_parked_order_and_has_it_tried_again_or_left_out(
    account_url: str, tmp_path: Path
) -> None:
    bug = tmp_path / "bug"
    bug.touch()
    async with storeroom(account_url, tmp_path) as room:
        async with running(room, with_a_bug(inventory(Settings()), bug)):
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


class TestTooMuch:
    """More commands than may wait are refused at the door, where their clients hear of it."""

    async def test_full_stream_says_so_to_everyone_who_asks_and_takes_more_when_there_is_room(
        self, account_url: str, tmp_path: Path
    ) -> None:
        streams = {**TOPOLOGY.streams, COMMANDS: {**TOPOLOGY.streams[COMMANDS], "max_msgs": 3}}
        topology = msgspec.structs.replace(TOPOLOGY, streams=streams)
        async with standing(account_url, tmp_path) as counter:
            await apply(counter.broker.api, declare(topology, (till(), scanner())), allow_destructive=True)
            stop = await counter.broker.serve("till", "1.0.0", "a till", api_of(till(), counter.broker))
            for amount in (1, 2, 3):
                await counter.ring(TILL, amount)
            with pytest.raises(BrokerRefusedError) as refused:
                await counter.ring(TILL, 4)
            assert refused.value.code == 10077
            headers, body = await counter.broker.request("api.till.Ring", RING_5, {}, 5.0)
            assert headers["Nats-Service-Error-Code"] == "503"
            assert "(10077)" in json.loads(body)["detail"]
            if NATS_CLI is not None:
                said = await anyio.run_process(
                    [NATS_CLI, "--server", counter.url, "pub", "-J", f"cmd.till.Ring.{TILL}", RING_5.decode()],
                    check=False,
                    stderr=-2,
                )
                assert said.returncode == 1
                assert b"maximum messages exceeded" in said.stdout
            await counter.scan(TILL, 9, "scanner/scan-1@1")
            await stop()
            async with running(counter):
                await counter.watcher.until(TILL, "Rung", times=4)
                await until_idle(counter)
                await counter.ring(TILL, 4)
                await counter.watcher.until(TILL, "Rung", times=5)
