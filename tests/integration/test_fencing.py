"""Two processes of one context: a position moves by compare-and-set, in the transaction of everything else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.adapters.sqlite.journal.store import SqliteStore
from shared.ports.rows import JournalRow, Move
from shared.ports.store import FencedError, Transaction
from shared.wire.messages import MSG_ID, content_hash
from tests.integration.engine import Counter, running
from tests.integration.keys import PARTITION, TILL


async def test_position_that_stands_elsewhere_voids_the_whole_transaction(tmp_path: Path) -> None:
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


async def test_process_whose_position_another_has_moved_decides_nothing_of_its_batch(counter: Counter) -> None:
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


async def test_two_processes_of_one_context_have_each_effect_once(counter: Counter) -> None:
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
