"""The engine on a real database and a real server, with a till for its context: refusals, poison, time, fencing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import msgspec
import pytest
import pytest_asyncio

from shared.adapters.sqlite.journal.store import SqliteStore
from shared.ports.rows import JournalRow, Move
from shared.ports.store import FencedError, Transaction
from shared.repair.rebuild import rebuild
from shared.run.server import local_server
from shared.wire.messages import MSG_ID, content_hash
from tests.integration.engine import PARTITIONS, Counter, rejection, running, standing
from tests.integration.keys import NEIGHBOUR, PARTITION, TILL
from tests.integration.till import JAMS_AT, Printer, till
from tests.waiting import WITHIN_S


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_counter(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Counter]:
    """One with a worker behind it, for tests that keep to a key of their own."""
    directory = tmp_path_factory.mktemp("till")
    over = anyio.Event()

    async def work(counter: Counter) -> None:
        async with running(counter):
            await over.wait()

    async with local_server(directory / "nats") as server, standing(server.url, directory) as counter:
        worker = asyncio.create_task(work(counter))
        yield counter
        over.set()
        await worker


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    """A till of this test's own."""
    return f"t-{content_hash(request.node.name.encode()).hex()}"


MALFORMED = {
    "an amount of nothing": (b'{"amount": 0}', "$.amount"),
    "a text for a number": (b'{"amount": "5"}', "$.amount"),
    "an amount that is missing": (b"{}", "$"),
    "a field that nobody knows": (b'{"amount": 5, "tip": 1}', "$"),
    "a field said twice": (b'{"amount": 5, "amount": 6}', "$"),
    "another till than the subject's": (b'{"amount": 5, "till_id": "t-2"}', "$.till_id"),
    "not a number": (b'{"amount": NaN}', "$"),
    "a number beyond all numbers": (b'{"amount": 1e400}', "$.amount"),
    "digits without end": (b'{"amount": %s}' % (b"9" * 5_000), "$"),
    "half of a body": (b'{"amount": ', "$"),
    "no body": (b"", "$"),
    "what is not UTF-8": (b'{"amount": "\xff"}', "$"),
    "a nest without end": (b"[" * 60_000, "$"),
}


@pytest.mark.asyncio(loop_scope="module")
class TestRefusals:
    """Commands that cannot be obeyed are answered, and done."""

    @pytest.mark.parametrize(("body", "path"), MALFORMED.values(), ids=MALFORMED.keys())
    async def test_malformed_body_is_answered_with_its_path(
        self, shared_counter: Counter, body: bytes, path: str, key: str
    ) -> None:
        counter = shared_counter
        await counter.publish(f"cmd.till.Ring.{key}", body)
        fact = await counter.watcher.until(key, "CommandRejected")
        assert rejection(fact) == ("malformed", [path])
        await counter.ring(key, 5)
        await counter.watcher.until(key, "Rung")

    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("Causation-Depth", "many"),
            ("Causation-Depth", "99"),
            ("Correlation-Id", "o.42"),
            ("Nats-Msg-Id", "two words"),
            ("Nats-Msg-Id", "x" * 256),
        ],
    )
    async def test_header_that_cannot_be_used_is_answered_under_the_commands_key(
        self, shared_counter: Counter, header: str, value: str, key: str
    ) -> None:
        counter = shared_counter
        await counter.publish(f"cmd.till.Ring.{key}", b'{"amount": 5}', **{header: value})
        fact = await counter.watcher.until(key, "CommandRejected")
        assert rejection(fact) == ("malformed", [header])
        await counter.ring(key, 5)
        await counter.watcher.until(key, "Rung")

    async def test_key_that_cannot_be_used_is_answered_all_the_same(self, shared_counter: Counter) -> None:
        counter = shared_counter
        await counter.publish("cmd.till.Ring.caf\u00e9", b'{"amount": 5}')
        fact = await counter.watcher.until("unkeyed", "CommandRejected")
        assert rejection(fact) == ("malformed", ["subject"])

    async def test_command_that_the_till_refuses_is_answered_with_its_reason(
        self, shared_counter: Counter, key: str
    ) -> None:
        counter = shared_counter
        await counter.publish(f"cmd.till.CloseAt.{key}", closing_at(datetime(2020, 1, 1, tzinfo=UTC)))
        await counter.watcher.until(key, "TillClosed")
        await counter.ring(key, 5)
        assert rejection(await counter.watcher.until(key, "CommandRejected")) == ("closed", [])


def closing_at(moment: datetime) -> bytes:
    return msgspec.json.encode({"closes_at": moment})


class TestPoison:
    """A message that makes our code fail stops its key, and no other key (F21)."""

    async def test_poison_parks_its_key_and_the_neighbours_flow(self, counter: Counter) -> None:
        """F21: all later messages of the key wait with it."""
        async with running(counter):
            for amount in (5, JAMS_AT, 6, 7):
                await counter.ring(TILL, amount)
            await counter.letters.until(TILL, "Ring")
            await counter.scan(TILL, 8, "scanner/scan-t-1@1")
            await counter.ring(NEIGHBOUR, 1)
            await counter.scan(NEIGHBOUR, 2, f"scanner/scan-{NEIGHBOUR}@2")
            await counter.watcher.until(NEIGHBOUR, "Rung", times=2)
            letter = (await counter.letters.until(TILL, "Ring")).content
        assert counter.totals(TILL) == [5]
        waiting = counter.rows("SELECT key, body, reason != '' FROM parked WHERE stream = 'COMMANDS' ORDER BY id")
        assert waiting == [(TILL, b'{"amount": %d}' % amount, amount == JAMS_AT) for amount in (JAMS_AT, 6, 7)]
        assert counter.rows("SELECT count(*) FROM parked WHERE stream = 'EVENTS'") == [(1,)]
        assert len(counter.letters.facts) == 1
        assert (letter["subject"], letter["body"]) == (f"cmd.till.Ring.{PARTITION}.{TILL}", '{"amount": 13}')
        assert "the drawer jams" in letter["reason"]

    async def test_key_stays_parked_over_a_restart(self, counter: Counter) -> None:
        async with running(counter):
            await counter.ring(TILL, JAMS_AT)
            await counter.letters.until(TILL, "Ring")
        async with running(counter):
            await counter.ring(TILL, 5)
            await counter.ring(NEIGHBOUR, 1)
            await counter.watcher.until(NEIGHBOUR, "Rung")
        assert counter.totals(TILL) == []
        assert counter.rows("SELECT count(*) FROM parked") == [(2,)]

    async def test_event_that_cannot_be_read_is_poison(self, counter: Counter) -> None:
        async with running(counter):
            await counter.scan_body(TILL, b'{"amount": "?"}', "scanner/scan-t-1@1")
            letter = await counter.letters.until(TILL, "GoodsScanned")
        assert letter.content["reason"].startswith("$.amount: ")


class TestTime:
    """Deadlines are messages."""

    async def test_timer_is_decided_when_it_is_due(self, counter: Counter) -> None:
        async with running(counter):
            soon = datetime.now(UTC) + timedelta(milliseconds=200)
            await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(soon))
            closed = await counter.watcher.until(TILL, "TillClosed")
        assert datetime.fromisoformat(closed.headers["Occurred-At"]) >= soon

    async def test_later_deadline_takes_the_place_of_the_earlier(self, counter: Counter) -> None:
        async with running(counter):
            await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(datetime.now(UTC) + timedelta(hours=1)))
            await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(datetime.now(UTC)))
            await counter.watcher.until(TILL, "TillClosed")

    async def test_timer_is_decided_after_every_event_that_was_there_when_it_came_due(self, counter: Counter) -> None:
        """A worker that was away for long must not close before it has heard of the sales meanwhile."""
        async with running(counter):
            soon = datetime.now(UTC) + timedelta(milliseconds=100)
            await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(soon))
            await counter.watcher.until(TILL, "ClosingScheduled")
        scanned = 600  # More than the worker asks for at once.
        for number in range(1, scanned + 1):
            await counter.scan(TILL, 1, f"scanner/scan-t-1@{number}")
        await counter.timers.until(TILL, "ClosingTime", times=2)  # Set, and due.
        async with running(counter, batch_at_most=50):
            closed = await counter.watcher.until(TILL, "TillClosed")
        assert closed.content["total"] == scanned


class TestLinger:
    """A context that nobody waits for lets its messages gather."""

    async def test_what_comes_meanwhile_is_decided_together(self, counter: Counter) -> None:
        async with running(counter, replace(till(), gather_s=0.5)) as loop:
            await asyncio.gather(*(counter.ring(TILL, amount) for amount in range(1, 12)))
            await counter.watcher.until(TILL, "Rung", times=11)
            assert loop.counters.batches < 5
        assert len(counter.totals(TILL)) == 11

    async def test_stop_does_not_wait_for_messages_to_gather(self, counter: Counter) -> None:
        with anyio.fail_after(WITHIN_S):
            async with running(counter, replace(till(), gather_s=60)):
                await counter.ring(TILL, 1)
                await counter.watcher.until(TILL, "Rung")


class TestJournal:
    """The database has every event of the stream, and the other way round."""

    async def test_stream_has_what_the_journal_has(self, counter: Counter) -> None:
        async with running(counter):
            for number in range(40):
                await counter.ring(f"t-{number % 7}", 100 + number)
            await counter.publish(f"cmd.till.Ring.{TILL}", b"?")
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "thanks at 1"}')
            await counter.watcher.until(TILL, "ReceiptPrinted")
            await counter.watcher.until("t-4", "Rung", times=6)
        journal = counter.rows(
            "SELECT published_seq, event_id, body FROM journal WHERE subject LIKE 'evt.%' ORDER BY published_seq"
        )
        heard = [(fact.sequence, fact.id, fact.body.decode()) for fact in counter.watcher.facts]
        assert journal == heard
        assert len(journal) == 43

    async def test_each_key_is_decided_in_the_order_of_the_stream_also_over_a_restart(self, counter: Counter) -> None:
        keys = [f"t-{number}" for number in range(5)]
        for first, last in ((1, 20), (20, 40)):
            async with running(counter, batch_at_most=7):
                for amount in range(first, last):
                    for key in keys:
                        await counter.ring(key, amount + 100)
                await counter.watcher.until(keys[-1], "Rung", times=1)
        async with running(counter):
            for key in keys:
                await counter.watcher.until(key, "Rung", times=39)
        for key in keys:
            amounts = [fact.content["amount"] for fact in counter.watcher.about(key)]
            assert amounts == [amount + 100 for amount in range(1, 40)]
            assert [fact.id for fact in counter.watcher.about(key)] == [f"till/till-{key}@{n}" for n in range(1, 40)]

    async def test_database_that_was_lost_is_rebuilt_from_the_stream(self, counter: Counter) -> None:
        printer = Printer()
        async with running(counter, till(printer)):
            await counter.ring(TILL, 5, "m-1")
            await counter.watcher.until(TILL, "Rung")
            await counter.scan(TILL, 2, "scanner/scan-t-1@1")
            await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "thanks at 1"}')
            await counter.watcher.until(TILL, "ReceiptPrinted")
        remembered = (
            "SELECT id, version, state FROM aggregates ORDER BY id",
            "SELECT event_id, aggregate, version, subject, body, headers, published_seq FROM journal ORDER BY n",
            # All but the notices by which processes find partitions that nobody holds.
            "SELECT message_id, hash FROM inbox WHERE message_id NOT LIKE 'TIMERS@%' ORDER BY message_id",
            "SELECT * FROM positions WHERE stream = 'EVENTS'",
            "SELECT * FROM effects",
        )
        before = [counter.rows(query) for query in remembered]
        await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
        assert [counter.rows(query) for query in remembered] == before
        async with running(counter, till(printer)):
            await counter.ring(TILL, 1)
            await counter.watcher.until(TILL, "Rung", times=3)
        assert counter.totals(TILL) == [5, 7, 8]
        assert len(printer.asked) == 1


class TestFence:
    """A position moves by compare-and-set, in the transaction of everything else."""

    async def test_position_that_stands_elsewhere_voids_the_whole_transaction(self, tmp_path: Path) -> None:
        store = await SqliteStore.open(tmp_path / "till.db", context="till")

        def advance(expected: int, seq: int) -> Callable[[Transaction], None]:
            def work(transaction: Transaction) -> None:
                transaction.add_to_inbox([(f"m-{seq}", content_hash(b""))])
                transaction.advance_positions([Move("EVENTS", 0, expected, seq, f"m-{seq}")])

            return work

        try:
            await store.transact(advance(0, 4))
            with pytest.raises(FencedError, match="EVENTS/0 is no longer at 0"):
                await store.transact(advance(0, 9))
            await store.transact(advance(4, 9))
            known = await store.read(lambda transaction: transaction.inbox_hashes(["m-4", "m-9"]))
            positions = await store.read(lambda transaction: transaction.positions())
        finally:
            await store.close()
        assert set(known) == {"m-4", "m-9"}
        assert positions["EVENTS", 0].seq == 9

    async def test_process_whose_position_another_has_moved_decides_nothing_of_its_batch(
        self, counter: Counter
    ) -> None:
        async with running(counter):
            first = await counter.scan(TILL, 1, "scanner/scan-t-1@1")
            await counter.watcher.until(TILL, "Rung")
            other = await SqliteStore.open(counter.directory / "till.db", context="till")
            at = first.sequence + 2  # Behind what was scanned, and what was rung for it.

            def decide_elsewhere(transaction: Transaction) -> None:
                transaction.advance_positions([Move("EVENTS", PARTITION, first.sequence, at, "scanner/scan-t-1@2")])
                transaction.add_to_inbox([("scanner/scan-t-1@2", content_hash(b'{"till_id": "t-1", "amount": 2}'))])

            await other.transact(decide_elsewhere)
            await other.close()
            assert (await counter.scan(TILL, 2, "scanner/scan-t-1@2")).sequence == at
            await counter.scan(TILL, 3, "scanner/scan-t-1@3")
            await counter.watcher.until(TILL, "Rung", times=2)
        assert counter.totals(TILL) == [1, 4]

    async def test_two_processes_of_one_context_have_each_effect_once(self, counter: Counter) -> None:
        keys = [f"t-{number}" for number in range(8)]
        async with running(counter), running(counter):
            for amount in range(1, 11):
                for key in keys:
                    await counter.ring(key, amount + 100)
            for key in keys:
                await counter.watcher.until(key, "Rung", times=10)
        assert all(len(counter.totals(key)) == 10 for key in keys)


async def test_owner_publishes_what_another_process_wrote_just_before_it_lost_the_partition(counter: Counter) -> None:
    """It does so in idle moments, and needs no batch of its own."""
    async with running(counter):
        await counter.ring(TILL, 5)
        rung = await counter.watcher.until(TILL, "Rung")
        headers = {**rung.headers, MSG_ID: f"till/till-{TILL}@2"}
        row = JournalRow(
            headers[MSG_ID], f"till-{TILL}", 2, f"evt.till.Rung.{TILL}", "Rung", headers, rung.body, PARTITION
        )
        deposed = await counter.databases.open("till")
        await deposed.transact(lambda transaction: transaction.append([row]))
        await deposed.close()
        await counter.watcher.until(TILL, "Rung", times=2)
