"""The decisions of one batch, on a database of its own."""

from pathlib import Path

import msgspec

from shared.adapters.sqlite.journal.store import SqliteStore
from shared.engine.decide.commit import Batch, Committed, Progress, commit
from shared.engine.decide.incoming import Incoming
from shared.engine.decide.routing import Routing
from shared.ports.broker import Delivery
from shared.ports.clock import moment
from shared.wire.messages import MSG_ID
from shared.wire.streams import COMMANDS
from tests.integration.till import PrintReceipt, RecordPrinted, till

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
