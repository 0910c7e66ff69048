"""An event that is published under the next edition of its id: what hangs on its id keeps the id without one."""

import pytest

from shared.repair.rebuild import rebuild
from tests.integration.engine import PARTITIONS, Counter, at_work
from tests.integration.keys import NEIGHBOUR, TILL
from tests.integration.refusing import TAKEN, come_of, declare_void, is_refused, journal_and_states, take_the_id
from tests.integration.till import Printer, till
from tests.waiting import until


async def test_stranger_under_the_next_edition_is_answered_with_the_one_after_it(counter: Counter) -> None:
    async with at_work(counter):
        await take_the_id(counter)
        await counter.publish("evt.till.Whatever.zz", b"{}", f"{TAKEN}.2")
        await counter.ring(TILL, 5)
        for expected in (TAKEN, f"{TAKEN}.2"):
            row = await is_refused(counter)
            assert row.message_id == expected
            await declare_void(counter, row)
            outcome = await come_of(counter, [row])
        assert outcome.outcome == f"published as {TAKEN}.3 at sequence 3"


async def test_effect_keeps_its_idempotency_key_in_every_edition(counter: Counter) -> None:
    printer = Printer()
    async with at_work(counter, till(printer)):
        await take_the_id(counter)
        await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "thanks at 2"}')
        row = await is_refused(counter)
        await until(lambda: counter.rows("SELECT count(*) FROM journal WHERE type = 'ReceiptPrinted'") == [(1,)])
        await declare_void(counter, row)
        assert (await come_of(counter, [row])).is_resolved
        await counter.watcher.until(TILL, "ReceiptPrinted")
    assert printer.asked == [("thanks at 2", TAKEN)] * 2
    printed = next(fact for fact in counter.watcher.about(TILL) if fact.type == "ReceiptPrinted")
    assert printed.cause == TAKEN
    rows = journal_and_states(counter)

    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    assert journal_and_states(counter) == rows
    assert counter.rows("SELECT event_id FROM effects") == []
    assert counter.rows("SELECT message_id, seq FROM strangers") == [(TAKEN, 1)]
    async with at_work(counter, till(printer)):
        await counter.ring(NEIGHBOUR, 1)
        await counter.watcher.until(NEIGHBOUR, "Rung")
    assert len(printer.asked) == 2


async def test_timer_keeps_its_id_in_every_edition_of_the_event_that_armed_it(counter: Counter) -> None:
    timers = "SELECT event_id FROM journal WHERE subject LIKE 'timer.%'"
    async with at_work(counter):
        await take_the_id(counter)
        await counter.publish(f"cmd.till.CloseAt.{TILL}", b'{"closes_at": "2026-01-01T00:00:00Z"}')
        row = await is_refused(counter)
        await declare_void(counter, row)
        assert (await come_of(counter, [row])).is_resolved
        await counter.watcher.until(TILL, "TillClosed")
    assert counter.rows(timers) == [(f"{TAKEN}/ClosingTime",)]
    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    assert counter.rows(timers) == [(f"{TAKEN}/ClosingTime",)]
    assert counter.rows("SELECT count(*) FROM inbox WHERE message_id = ?", f"{TAKEN}/ClosingTime") == [(1,)]


@pytest.mark.parametrize(("closes_at", "decided"), [("2026-01-01T00:00:00Z", 1), ("2099-01-01T00:00:00Z", 0)])
async def test_timer_whose_own_id_was_taken_keeps_its_edition_in_a_rebuild(
    counter: Counter, closes_at: str, decided: int
) -> None:
    timer = f"{TAKEN}/ClosingTime"
    async with at_work(counter):
        await counter.publish("timer.till.Whatever.zz", b"{}", timer)
        await counter.publish("timer.till.Whatever.yy", b"{}", f"{timer}.9")
        await counter.publish(f"cmd.till.CloseAt.{TILL}", b'{"closes_at": "%s"}' % closes_at.encode())
        row = await is_refused(counter)
        await declare_void(counter, row)
        outcome = await come_of(counter, [row])
        assert outcome.outcome.startswith(f"published as {timer}.2 at sequence ")
        await counter.watcher.until(TILL, "ClosingScheduled")
        if decided:
            await counter.watcher.until(TILL, "TillClosed")
    timers = "SELECT event_id, headers FROM journal WHERE subject LIKE 'timer.%'"
    known = counter.rows(timers)
    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    assert counter.rows(timers) == known
    assert counter.rows("SELECT count(*) FROM inbox WHERE message_id = ?", f"{timer}.2") == [(decided,)]


async def test_effect_that_is_open_after_a_rebuild_is_asked_under_the_id_without_an_edition(counter: Counter) -> None:
    """The stranger's event is one that a rebuild could read."""
    body = b'{"till_id": "%s", "text": "not ours"}' % TILL.encode()
    printer = Printer()
    async with at_work(counter, till(printer)):
        await counter.publish(f"evt.till.ReceiptRequested.{TILL}", body, TAKEN, Correlation_Id=TILL, Causation_Id="m-0")
        await counter.publish(f"cmd.till.PrintReceipt.{TILL}", b'{"text": "thanks at 99"}')
        row = await is_refused(counter)
        await declare_void(counter, row)
        assert (await come_of(counter, [row])).is_resolved
    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    assert counter.rows("SELECT event_id FROM effects") == [(TAKEN,)]
    again = Printer()
    async with at_work(counter, till(again)):
        await until(lambda: len(again.asked) > 0)
    assert set(printer.asked) == set(again.asked) == {("thanks at 99", TAKEN)}
