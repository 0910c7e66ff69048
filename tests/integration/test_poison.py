"""A message that makes our code fail stops its key, and no other key (F21)."""

from tests.integration.engine import Counter, running
from tests.integration.keys import NEIGHBOUR, PARTITION, TILL
from tests.integration.till import JAMS_AT


async def test_poison_parks_its_key_and_the_neighbours_flow(counter: Counter) -> None:
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


async def test_key_stays_parked_over_a_restart(counter: Counter) -> None:
    async with running(counter):
        await counter.ring(TILL, JAMS_AT)
        await counter.letters.until(TILL, "Ring")
    async with running(counter):
        await counter.ring(TILL, 5)
        await counter.ring(NEIGHBOUR, 1)
        await counter.watcher.until(NEIGHBOUR, "Rung")
    assert counter.totals(TILL) == []
    assert counter.rows("SELECT count(*) FROM parked") == [(2,)]


async def test_event_that_cannot_be_read_is_poison(counter: Counter) -> None:
    async with running(counter):
        await counter.scan_body(TILL, b'{"amount": "?"}', "scanner/scan-t-1@1")
        letter = await counter.letters.until(TILL, "GoodsScanned")
    assert letter.content["reason"].startswith("$.amount: ")
