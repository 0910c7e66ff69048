"""Events whose id another message took first: recorded, listed with a remedy, and published in the end."""

import getpass
from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest

from contexts.inventory.settings import InventorySettings
from contexts.inventory.worker import context as inventory
from shared.adapters.sqlite.journal.store import SqliteStore
from shared.ports.broker import Stored
from shared.ports.rows import StrangerRow
from shared.repair import parked
from shared.repair.rebuild import rebuild
from shared.repair.reconcile import compare
from shared.repair.results import VerdictResult
from shared.wire.messages import MSG_ID, parse_subject
from tests.integration.engine import PARTITIONS, Counter, at_work, published, standing, stored_again, working
from tests.integration.keys import NEIGHBOUR, TILL
from tests.integration.refusing import TAKEN, come_of, declare_void, is_refused, journal_and_states, take_the_id
from tests.integration.storeroom import storeroom
from tests.integration.till import Rung, till
from tests.waiting import WITHIN_S, until

REMEMBERS = timedelta(seconds=1)


@pytest.fixture
async def forgetful_counter(account_url: str, tmp_path: Path) -> AsyncIterator[Counter]:
    """A counter on a server whose duplicate window is one second."""
    async with standing(account_url, tmp_path, remembers=REMEMBERS) as counter:
        yield counter


async def until_ids_are_forgotten(counter: Counter) -> None:
    """Wait until the server stores a message again under every id that it has now."""
    scan = partial(counter.scan, NEIGHBOUR, 1, f"scanner/scan-{NEIGHBOUR}@1")
    await scan()
    await stored_again(scan)


async def under(counter: Counter, message_id: str) -> AsyncIterator[Stored]:
    """Every message in EVENTS under an id."""
    async for stored in counter.broker.read("EVENTS", "evt.>"):
        if stored.headers.get(MSG_ID) == message_id:
            yield stored


async def test_refused_event_is_on_record_with_its_remedy_until_it_is_published(counter: Counter) -> None:
    async with at_work(counter) as process:
        await take_the_id(counter)
        await counter.ring(TILL, 5)
        await counter.ring(TILL, 6)
        await counter.ring(NEIGHBOUR, 1)
        await counter.watcher.until(NEIGHBOUR, "Rung")
        row = await is_refused(counter)
        assert (row.number, row.key, row.message_id, row.behind, row.sequence) == ("till/r1", TILL, TAKEN, 1, 1)
        assert row.reason == f"EVENTS has another message under the id {TAKEN}, at sequence 1"
        assert "chorus parked void till/r1 --why '…'" in row.remedy
        (alarm,) = process.alarms.raised
        assert (alarm.kind, alarm.subject) == ("publication", TILL)
        assert "chorus parked void till/r1 --why '…'" in alarm.remedy

        assert await declare_void(counter, row) == 1
        outcome = await come_of(counter, [row])
        assert (outcome.is_resolved, outcome.outcome) == (True, f"published as {TAKEN}.2 at sequence 3")
        await counter.watcher.until(TILL, "Rung", times=2)
        assert process.alarms.raised == []
    assert published(counter, TILL) == [f"{TAKEN}.2", f"till/till-{TILL}@2"]
    assert parked.refused_in(counter.databases, ["till"]) == []
    assert counter.rows("SELECT message_id, seq, who, why FROM strangers") == [(TAKEN, 1, "ann", "a test script")]
    assert counter.rows(
        "SELECT version, event_id FROM journal WHERE aggregate = ? AND version = 1", f"till-{TILL}"
    ) == [(1, f"{TAKEN}.2")]


async def test_loop_takes_no_new_messages_while_too_many_rows_are_refused_and_still_hears_the_verdict(
    counter: Counter,
) -> None:
    async with at_work(counter) as process:
        process.relay.blocked.refused_at_most = 2
        await take_the_id(counter)
        await counter.ring(TILL, 5)
        await counter.ring(TILL, 6)
        row = await is_refused(counter)
        await until(lambda: [alarm.kind for alarm in process.alarms.raised] == ["publication", "backlog"])
        alarm = process.alarms.raised[1]
        assert alarm.reason == "2 rows are refused or wait behind a refused one, so it takes no new messages"
        assert "chorus parked ls till" in alarm.remedy
        await counter.ring(NEIGHBOUR, 1)
        await until(lambda: process.loop.is_resting)
        assert published(counter, NEIGHBOUR) == []

        assert await declare_void(counter, row) == 1
        assert (await come_of(counter, [row])).is_resolved
        await counter.watcher.until(TILL, "Rung", times=2)
        await counter.watcher.until(NEIGHBOUR, "Rung")
        await until(lambda: process.alarms.raised == [])


@pytest.mark.parametrize("subject", ["evt.till.Whatever.zz", f"evt.till.Rung.{TILL}"])
async def test_event_is_not_taken_for_published_when_a_stranger_only_says_the_same(
    counter: Counter, subject: str
) -> None:
    """Nobody hears it on another subject, and no rebuild believes it without its headers."""
    body = msgspec.json.encode(Rung(till_id=TILL, amount=5, total=5))
    async with at_work(counter):
        await counter.publish(subject, body, TAKEN)
        await counter.ring(TILL, 5)
        row = await is_refused(counter)
        assert await declare_void(counter, row) == 1
        assert (await come_of(counter, [row])).outcome == f"published as {TAKEN}.2 at sequence 2"
    known = journal_and_states(counter)
    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    assert journal_and_states(counter) == known


async def test_event_is_never_published_beside_a_strangers_message_under_its_id(forgetful_counter: Counter) -> None:
    """Neither by a retry nor by the next process, though the server would store both by then."""
    counter = forgetful_counter
    async with at_work(counter):
        await take_the_id(counter)
        await counter.ring(TILL, 5)
        row = await is_refused(counter)
        await until_ids_are_forgotten(counter)
        assert await parked.retry(counter.databases, [row], who="ann") == 1
        assert (await come_of(counter, [row])).outcome == f"refused again: {row.reason}"
    async with at_work(counter) as process:
        await counter.ring(TILL, 6)
        await counter.ring(NEIGHBOUR, 1)
        await until(lambda: [alarm.subject for alarm in process.alarms.raised] == [TILL])
        await until(lambda: counter.watcher.types(NEIGHBOUR)["Rung"] > 1)
        assert (await is_refused(counter)).behind == 1
        await declare_void(counter, row)
        assert (await come_of(counter, [row])).is_resolved
        await counter.watcher.until(TILL, "Rung", times=2)
        assert process.alarms.raised == []
    assert published(counter, TILL) == [f"{TAKEN}.2", f"till/till-{TILL}@2"]
    assert [parse_subject(stored.subject).type async for stored in under(counter, TAKEN)] == ["Whatever"]


async def test_retry_publishes_an_event_whose_id_was_taken_once_that_message_is_gone(
    account_url: str, tmp_path: Path
) -> None:
    """The server answers with the place of the message that is gone for as long as it remembers the id."""
    timer = f"{TAKEN}/ClosingTime"
    async with standing(account_url, tmp_path, remembers=REMEMBERS * 3) as counter, at_work(counter):
        stranger = await counter.publish("timer.till.Whatever.zz", b"{}", timer)
        await counter.publish(f"cmd.till.CloseAt.{TILL}", b'{"closes_at": "2026-01-01T00:00:00Z"}')
        row = await is_refused(counter)
        assert (row.message_id, row.sequence) == (timer, stranger.sequence)
        request = b'{"seq": %d, "no_erase": true}' % stranger.sequence
        await counter.broker.api("$JS.API.STREAM.MSG.DELETE.TIMERS", request)
        told: list[VerdictResult] = []
        with anyio.fail_after(WITHIN_S):
            while not told or not told[-1].is_resolved:
                assert await parked.retry(counter.databases, [row], who="ann") == 1
                told.append(await come_of(counter, [row]))
        await counter.watcher.until(TILL, "TillClosed")
    assert told[-1].outcome.startswith(f"published as {timer} at sequence ")
    assert {outcome.outcome for outcome in told[:-1]} <= {
        f"refused again: TIMERS remembers the id of the message that was at sequence {stranger.sequence},"
        " until its duplicate window has passed"
    }


async def test_verdict_without_a_worker_says_so_and_is_carried_out_before_the_next_one_publishes(
    forgetful_counter: Counter,
) -> None:
    """Otherwise the server would store the event under the stranger's id, whose duplicate window has passed."""
    counter = forgetful_counter
    async with at_work(counter):
        await take_the_id(counter)
        await counter.ring(TILL, 5)
        row = await is_refused(counter)
    await declare_void(counter, row)
    outcome = await come_of(counter, [row], within_s=0.2)
    assert (outcome.is_resolved, outcome.outcome) == (
        False,
        "no worker of till has acted on it; see chorus health till",
    )
    await until_ids_are_forgotten(counter)
    async with at_work(counter):
        await counter.watcher.until(TILL, "Rung")
    assert published(counter, TILL) == [f"{TAKEN}.2"]


async def test_voided_message_explains_itself_to_reconcile(counter: Counter) -> None:
    async with at_work(counter):
        await take_the_id(counter)
        await counter.ring(TILL, 5)
        row = await is_refused(counter)
        assert (await compare(counter.broker, counter.databases, "till")).differing == (TAKEN,)
        await declare_void(counter, row)
        assert (await come_of(counter, [row])).is_resolved
    assert (await compare(counter.broker, counter.databases, "till")).is_none


async def test_record_by_form_does_not_replace_what_an_operator_declared(tmp_path: Path) -> None:
    by_form = StrangerRow(TAKEN, 7, "evt.till.Whatever.0.zz", "no header", "2026-11-21T09:00:00.000000Z", "", "")
    by_ann = by_form._replace(who="ann", why="a test script")
    by_bob = by_ann._replace(who="bob")
    store = await SqliteStore.open(tmp_path / "till.db", context="till")
    try:
        for row, kept in ((by_form, []), (by_ann, [by_ann]), (by_form, [by_ann]), (by_bob, [by_bob])):
            await store.transact(partial(lambda transaction, row: transaction.refused.record_strangers([row]), row=row))
            assert await store.read(lambda transaction: transaction.refused.declared_strangers()) == kept
    finally:
        await store.close()


async def test_refused_row_is_not_taken_for_published_when_the_streams_are_compared(counter: Counter) -> None:
    async with at_work(counter):
        await take_the_id(counter)
        await counter.ring(TILL, 5)
        await is_refused(counter)
    counter.change("UPDATE meta SET value = 'another' WHERE key = 'created EVENTS'")
    async with at_work(counter):
        await counter.ring(NEIGHBOUR, 1)
        await counter.watcher.until(NEIGHBOUR, "Rung")
        row = await is_refused(counter)
        assert row.message_id == TAKEN


async def test_message_under_an_id_that_no_journal_has_is_declared_while_the_worker_is_stopped(
    account_url: str, tmp_path: Path
) -> None:
    stray = "inventory/stock-zz@1"
    async with storeroom(account_url, tmp_path) as room:
        await (await SqliteStore.open(tmp_path / "inventory.db", context="inventory")).close()
        body = b'{"sku": "zz", "name": "Nobody\'s", "unit_price": {"amount_minor": 1}}'
        headers = {
            "Correlation_Id": "zz",
            "Causation_Id": "m-0",
            "Causation_Depth": "1",
            "Occurred_At": "2026-11-24T09:00:00.000000Z",
            "Schema_Version": "1",
        }
        await room.publish("evt.inventory.StockItemRegistered.zz", body, stray, **headers)
        with pytest.raises(ExceptionGroup):
            async with working(room, inventory(InventorySettings())) as process:
                await until(lambda: len(process.ownership.owned) == PARTITIONS)

        void_it = ("parked", "void", stray, "--why", "nobody registered zz", "--yes")
        assert await room.chorus(*void_it, "--server", room.url) == (
            f"voided: {stray} at sequence 1, evt.inventory.StockItemRegistered.1.zz, is recorded as a stranger's;"
            " start the workers of inventory again\n"
        )
        async with working(room, inventory(InventorySettings())) as process:
            await until(lambda: len(process.ownership.owned) == PARTITIONS)
            await room.order("o-1")
            await room.watcher.until("o-1", "InventoryRejected")
        who = getpass.getuser()
        declared = room.rows("SELECT message_id, seq, who, why FROM strangers")
        assert declared == [(stray, 1, who, "nobody registered zz")]
        nobody = await room.chorus("parked", "void", f"{stray}1", "--why", "x", "--yes", "--server", room.url, exits=1)
        assert f"EVENTS has no message under {stray}1" in nobody
        misspelt = await room.chorus("parked", "void", "zz", "--why", "x", "--yes", exits=1)
        assert "neither listed by chorus parked ls nor the id of an event" in misspelt
        ours = room.rows("SELECT event_id FROM journal WHERE subject LIKE 'evt.%'")[0][0]
        assert "is an event of inventory itself" in await room.chorus(
            "parked", "void", ours, "--why", "x", "--yes", exits=1
        )
