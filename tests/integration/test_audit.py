"""A stranger's event is decided by nobody and shown everywhere; a journal proves its own events."""

import json
from datetime import UTC, datetime
from pathlib import Path

from shared import catalog
from shared.adapters.sqlite.views.store import SqliteViewStore
from shared.cli.adapters import outboxes
from shared.config.settings import Settings
from shared.ports.rows import JournalRow, Proof, StrangerRow
from shared.repair.audit import audit
from shared.repair.strangers import declare_stranger, set_aside_in
from shared.wire.streams import EVENTS
from tests.integration.databases import forge
from tests.integration.engine import PARTITIONS, Counter, running
from tests.integration.keys import TILL
from tests.saying import said
from tests.waiting import until

HERS = b'{"till_id": "t-1", "amount": 500}'


async def test_stranger_s_event_is_set_aside_and_the_next_of_its_key_is_decided(counter: Counter) -> None:
    async with running(counter) as loop:
        await counter.publish(f"evt.scanner.GoodsScanned.{TILL}", HERS)
        await counter.publish(f"evt.scanner.GoodsScanned.{TILL}", HERS, "scanner/scan-t-1@1")
        await counter.scan(TILL, 2, "scanner/scan-t-1@2")
        await counter.watcher.until(TILL, "Rung")
        await until(lambda: loop.counters.strangers == 2, "both are counted")
        assert loop.counters.parked == 0
    assert counter.totals(TILL) == [2]
    found, in_all = set_aside_in(counter.databases, ["till"], 20)
    assert in_all == 2
    assert [one.contexts for one in found] == [("till",), ("till",)]
    assert all(one.reason.startswith("it has no header Correlation-Id") for one in found)


async def test_id_of_a_stranger_stays_free_for_the_event_that_has_it(forgetful_counter: Counter) -> None:
    counter = forgetful_counter
    async with running(counter):
        await counter.publish(f"evt.scanner.GoodsScanned.{TILL}", HERS, "scanner/scan-t-1@1")
        while (await counter.scan(TILL, 2, "scanner/scan-t-1@1")).duplicate:
            pass
        await counter.watcher.until(TILL, "Rung")
    assert counter.totals(TILL) == [2]


async def ring_once(counter: Counter) -> None:
    """Let a worker publish one event, and end."""
    async with running(counter):
        await counter.ring(TILL, 1)
        await counter.watcher.until(TILL, "Rung")
        await counter.published()


class TestAudit:
    """`chorus audit` finds what no journal said, also when its form is right."""

    async def test_events_that_the_journal_has_are_proven(self, counter: Counter) -> None:
        await ring_once(counter)
        found = await audit(counter.broker, counter.databases, ["till"], PARTITIONS)
        assert (found.events, found.unproven, found.unread) == (1, (), ())

    async def test_forged_event_is_found_also_in_the_right_form(self, counter: Counter) -> None:
        await ring_once(counter)
        await forge(counter, "till/till-t-7@1", key="t-7")
        await counter.publish("evt.till.Rung.t-8", b"{}")
        found = await audit(counter.broker, counter.databases, ["till", "scanner"], PARTITIONS)
        assert [(one.finding, one.message_id[:15], bool(one.reason)) for one in found.unproven] == [
            ("absent", "till/till-t-7@1", False),
            ("absent", "EVENTS@" + f"{datetime.now(UTC):%Y-%m-%d}"[:8], True),
        ]
        assert found.unread == ("scanner",)

    async def test_other_content_under_the_id_of_an_event_is_found(self, forgetful_counter: Counter) -> None:
        counter = forgetful_counter
        await ring_once(counter)
        form = {name.replace("-", "_"): text for name, text in said(TILL).items()}
        body = json.dumps({"till_id": TILL, "amount": 99, "total": 99}).encode()
        while (await counter.publish(f"evt.till.Rung.{TILL}", body, "till/till-t-1@1", **form)).duplicate:
            pass
        found = await audit(counter.broker, counter.databases, ["till"], PARTITIONS)
        assert [(one.finding, one.message_id) for one in found.unproven] == [("other_content", "till/till-t-1@1")]

    async def test_event_that_an_operator_has_declared_is_reported_as_such(self, counter: Counter) -> None:
        await ring_once(counter)
        for n in (7, 8):
            await forge(counter, f"till/till-t-{n}@1", key=f"t-{n}")
        await declare_stranger(
            counter.databases, "till", StrangerRow("till/till-t-7@1", 0, "", "", "", "ann", "a test")
        )
        found = await audit(counter.broker, counter.databases, ["till"], PARTITIONS)
        assert [(one.message_id, one.declared) for one in found.unproven] == [
            ("till/till-t-7@1", True),
            ("till/till-t-8@1", False),
        ]
        assert not found.is_clean
        await declare_stranger(
            counter.databases, "till", StrangerRow("till/till-t-8@1", 0, "", "", "", "ann", "a test")
        )
        assert (await audit(counter.broker, counter.databases, ["till"], PARTITIONS)).is_clean

    async def test_event_is_not_proven_on_another_subject(self, forgetful_counter: Counter) -> None:
        counter = forgetful_counter
        await ring_once(counter)
        (row,) = counter.rows("SELECT event_id, body, headers FROM journal WHERE type = 'Rung'")
        form = {name.replace("-", "_"): text for name, text in json.loads(row[2]).items() if name != "Nats-Msg-Id"}
        while (await counter.publish(f"evt.till.Refunded.{TILL}", row[1].encode(), row[0], **form)).duplicate:
            pass
        found = await audit(counter.broker, counter.databases, ["till"], PARTITIONS)
        assert [(one.finding, one.subject.split(".")[2]) for one in found.unproven] == [("other_content", "Refunded")]

    async def test_outboxes_prove_the_events_of_a_read_side(self, counter: Counter) -> None:
        await counter.scan(TILL, 1, "scanner/scan-t-1@1")
        await counter.scan(TILL, 2, "scanner/scan-t-1@2")
        bodies = [stored.body async for stored in counter.broker.read(EVENTS, "evt.>")]
        mine = {"scanner/scan-t-1@1": Proof(f"evt.scanner.GoodsScanned.{TILL}", bodies[0])}
        found = await audit(counter.broker, counter.databases, [], PARTITIONS, {"scanner": [lambda _: mine]})
        assert [one.message_id for one in found.unproven] == ["scanner/scan-t-1@2"]
        elsewhere = await audit(counter.broker, counter.databases, [], PARTITIONS, {"scanner": None})
        assert (elsewhere.unproven, elsewhere.unread, elsewhere.is_clean) == ((), ("scanner",), False)

    async def test_outboxes_are_found_beside_the_databases(self, tmp_path: Path) -> None:
        settings = Settings(data_dir=tmp_path)
        sides = catalog.load_all(settings).read_sides
        with outboxes(settings, sides) as found:
            assert found == {"insights": None}
        (group,) = [one for one in sides["insights"].groups if one.says]
        body = b'{"sku": "mug"}'
        row = JournalRow(
            "insights/stockLow-mug@1", "stockLow-mug", 1, "evt.insights.StockLow.mug", "StockLow", {}, body, 0
        )
        store = await SqliteViewStore.open(tmp_path / f"insights-{group.name}.db", group)
        await store.transact(lambda transaction: transaction.add_to_outbox([row]))
        await store.close()
        with outboxes(settings, sides) as found:
            assert found["insights"] is not None
            (look_up,) = found["insights"]
            assert look_up([row.event_id, "insights/other"]) == {row.event_id: Proof(row.subject, row.body)}

    async def test_event_of_no_context_is_found(self, counter: Counter) -> None:
        await counter.scan(TILL, 1, "scanner/scan-t-1@1")
        found = await audit(counter.broker, counter.databases, [], PARTITIONS)
        assert [one.finding for one in found.unproven] == ["no_context"]
