"""The database has every event of the stream, and the stream every event of the database."""

from shared.repair.rebuild import rebuild
from tests.integration.engine import PARTITIONS, Counter, running
from tests.integration.keys import TILL
from tests.integration.till import Printer, till


async def test_stream_has_what_the_journal_has(counter: Counter) -> None:
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


async def test_each_key_is_decided_in_the_order_of_the_stream_also_over_a_restart(counter: Counter) -> None:
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


async def test_database_that_was_lost_is_rebuilt_from_the_stream(counter: Counter) -> None:
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
