"""The decisions of one batch, on a database of its own."""

from pathlib import Path

import msgspec
from structlog.testing import capture_logs

from shared.adapters.sqlite.journal.store import SqliteStore
from shared.engine.decide.commit import Batch, Committed, Progress, commit
from shared.engine.route.incoming import Incoming
from shared.engine.route.routing import Routing
from shared.ports.broker import Delivery
from shared.ports.clock import moment
from shared.wire.messages import CORRELATION_ID, MSG_ID
from shared.wire.streams import COMMANDS
from tests.integration.till import JAMS_AT, PrintReceipt, RecordPrinted, till

PARTITIONS = 2


async def test_two_outcomes_of_one_effect_in_one_batch_have_one_effect(tmp_path: Path) -> None:
    """A call may still be under way when its partition is released, taken over, and the call repeated."""
    routing = Routing(till(), partitions=PARTITIONS)
    store = await SqliteStore.open(tmp_path / "till.db", context="till")

    async def decide(*messages: Incoming) -> Committed:
        last = await store.read(lambda transaction: transaction.last_number())
        batch = Batch(messages, [], Progress([], {}), range(PARTITIONS), last, moment(0))
        return await store.transact(lambda transaction: commit(transaction, routing, batch))

    command = Delivery(
        sequence=1,
        consumer_sequence=1,
        pending=0,
        at_ns=0,
        subject="cmd.till.PrintReceipt.0.t-1",
        headers={MSG_ID: "m-1"},
        body=msgspec.json.encode(PrintReceipt(till_id="t-1", text="7")),
        reply="",
    )
    try:
        (effect,) = (await decide(routing.delivered(COMMANDS, 0, command))).effects
        outcomes = [
            routing.outcome(effect, RecordPrinted(till_id="t-1", text="7", attempt=attempt)) for attempt in (1, 2)
        ]
        printed = [row.row.type for row in (await decide(*outcomes)).rows]
        assert printed == ["ReceiptPrinted"]
        assert [row.row.type for row in (await decide(*outcomes)).rows] == []
    finally:
        await store.close()


async def test_every_message_leads_to_one_line_with_its_saga_and_its_id(tmp_path: Path) -> None:
    routing = Routing(till(), partitions=PARTITIONS)
    store = await SqliteStore.open(tmp_path / "till.db", context="till")

    def ring(sequence: int, message_id: str, amount: int) -> Incoming:
        delivery = Delivery(
            sequence=sequence,
            consumer_sequence=sequence,
            pending=0,
            at_ns=0,
            subject="cmd.till.Ring.0.t-1",
            headers={MSG_ID: message_id, CORRELATION_ID: "s-1"},
            body=b'{"amount": %d}' % amount,
            reply="",
        )
        return routing.delivered(COMMANDS, 0, delivery)

    messages = [ring(1, "m-1", 5), ring(2, "m-1", 5), ring(3, "m-2", 0), ring(4, "m-3", JAMS_AT), ring(5, "m-4", 6)]
    try:
        with capture_logs() as lines:
            batch = Batch(messages, [], Progress([], {}), range(PARTITIONS), 0, moment(0))
            await store.transact(lambda transaction: commit(transaction, routing, batch))
    finally:
        await store.close()
    assert [(line["event"], line["log_level"], line["saga"], line["message"]) for line in lines] == [
        ("decided", "debug", "s-1", "m-1"),
        ("duplicate", "debug", "s-1", "m-1"),
        ("rejected", "info", "s-1", "m-2"),
        ("parked", "error", "s-1", "m-3"),
        ("parked behind another", "debug", "s-1", "m-4"),
    ]
    assert (lines[0]["heard"], lines[0]["commands"], lines[0]["events"]) == ("Ring", ["Ring"], ["Rung"])
