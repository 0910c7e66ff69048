"""The relay against a real server: every PubAck it may have, and every one it may be left without."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from structlog.testing import capture_logs

from shared.adapters.clock import SystemClock
from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import STREAM_FULL, Troubles
from shared.engine.publish.relay import BATCH_AT_LEAST, Relay
from shared.ports.broker import Broker, BrokerError, BrokerRefusedError, Outgoing, Published
from shared.ports.rows import JournalRow, NumberedRow
from shared.wire.messages import CORRELATION_ID, MSG_ID
from tests.integration.brokers import Answer, Trouble, TroubledBroker
from tests.integration.engine import PARTITIONS, Counter
from tests.waiting import WITHIN_S

LINGER_S = {"drawer": 0.2}
OTHER_STREAM_EXPECTED = BrokerRefusedError(10060, "expected stream does not match")


def row(n: int, key: str, version: int, *, partition: int = 0, aggregate: str = "till") -> NumberedRow:
    """The `version`-th fact about a till, or about its drawer, for which nobody waits."""
    identity = f"till/{aggregate}-{key}@{version}"
    body = b'{"till_id": "%s", "amount": 1, "total": %d}' % (key.encode(), version)
    headers = {MSG_ID: identity, CORRELATION_ID: key}
    subject = f"evt.till.Rung.{key}"
    headers = {MSG_ID: identity, CORRELATION_ID: key}
    return NumberedRow(
        n, JournalRow(identity, f"{aggregate}-{key}", version, subject, "Rung", headers, body, partition)
    )


def rows_of(*keys: str, versions: int) -> list[NumberedRow]:
    """This many facts about each till, all tills' first ones first."""
    return [
        row(1 + (version - 1) * len(keys) + number, key, version)
        for version in range(1, versions + 1)
        for number, key in enumerate(keys)
    ]


@asynccontextmanager
async def publishing(broker: TroubledBroker) -> AsyncIterator[tuple[Relay, Callable[[], Awaitable[dict[int, int]]]]]:
    """A relay at work, and how to wait for its marks: the sequence in the stream by the number in the journal."""
    sequences: dict[int, int] = {}

    async def marked() -> dict[int, int]:
        with anyio.fail_after(WITHIN_S):
            while relay.is_publishing:  # noqa: ASYNC110 - the relay tells nobody.
                await anyio.sleep(0.005)
        sequences.update(relay.drain_acknowledged())
        return sequences

    clock = SystemClock()
    alarms = Alarms(clock)
    troubles = Troubles(alarms, broker, "till")
    relay = Relay(broker, clock, linger_s=LINGER_S, troubles=troubles)
    for partition in range(PARTITIONS):
        relay.assign(partition)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(relay.run)
        yield relay, marked
        tasks.cancel_scope.cancel()


async def assert_stored(counter: Counter, rows: Sequence[NumberedRow], marks: dict[int, int]) -> None:
    """The stream has these rows, each once and where the marks say, and each key's in journal order."""
    stored = {fact.sequence: fact async for fact in counter.broker.read("EVENTS", "evt.till.>")}
    assert {n: stored[marks[n]].body for n, _ in rows} == {n: row.body for n, row in rows}
    assert len(stored) == len(rows)
    for key in {numbered.row.key for numbered in rows}:
        sequences = [marks[numbered.n] for numbered in rows if numbered.row.key == key]
        assert sequences == sorted(sequences)


async def test_many_rows_go_as_one_batch(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    rows = rows_of("a", "b", versions=10)
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
    assert (broker.batches, broker.published) == ([20], [])
    assert marks == {n: n for n in range(1, 21)}
    await assert_stored(counter, rows, marks)


async def test_few_rows_go_singly_and_those_of_a_key_one_after_the_other(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    rows = rows_of("a", "b", versions=3)
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
    assert broker.batches == []
    assert len(broker.published) == 6
    await assert_stored(counter, rows, marks)


async def test_what_nobody_waits_for_goes_later_as_one_batch_with_what_follows_it(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    drawer = [row(n, "a", n, aggregate="drawer") for n in range(1, BATCH_AT_LEAST)]
    at_once, behind = row(BATCH_AT_LEAST, "b", 1), row(BATCH_AT_LEAST + 1, "a", 1)
    async with publishing(broker) as (relay, marked):
        relay.add([*drawer, at_once, behind])
        assert relay.backlog == len(drawer) + 2
        marks = await marked()
    assert broker.published == [at_once.row.event_id]
    assert broker.batches == [len(drawer) + 1]
    await assert_stored(counter, [*drawer, at_once, behind], marks)


async def test_partition_that_was_left_is_published_again_once_it_is_ours(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    rows = rows_of("a", versions=2)
    async with publishing(broker) as (relay, marked):
        relay.revoke(0)
        relay.add(rows)
        assert not relay.is_publishing
        relay.assign(0)
        relay.add(rows)
        marks = await marked()
    await assert_stored(counter, rows, marks)


async def test_lingering_rows_of_a_revoked_partition_are_left_to_its_new_owner(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    kept, left = row(1, "a", 1, aggregate="drawer"), row(2, "b", 1, aggregate="drawer", partition=1)
    async with publishing(broker) as (relay, marked):
        relay.add([kept, left])
        relay.revoke(1)
        marks = await marked()
    assert broker.published == [kept.row.event_id]
    await assert_stored(counter, [kept], marks)


@pytest.mark.parametrize("versions", [1, BATCH_AT_LEAST])
async def test_answer_that_comes_once_the_partition_was_left_marks_nothing(counter: Counter, versions: int) -> None:
    """By then the stream may have been created again, and its messages of the partition been counted."""
    broker = SlowBroker(counter.broker)
    rows = rows_of("a", versions=versions)
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        await broker.stored.wait()
        relay.revoke(0)
        broker.answers.set()
        assert await marked() == {}
    assert len([fact async for fact in counter.broker.read("EVENTS", "evt.till.>")]) == versions


class SlowBroker(TroubledBroker):
    """Says that it has stored something only when it is let."""

    def __init__(self, real: Broker) -> None:
        super().__init__(real)
        self.stored = anyio.Event()
        self.answers = anyio.Event()

    async def publish_each(self, messages: Sequence[Outgoing]) -> list[Published | BrokerError]:
        """Publish side by side, and answer in a while."""
        return await self._held(await super().publish_each(messages))

    async def publish_batch(self, messages: Sequence[Outgoing]) -> int:
        """Publish a batch, and answer in a while."""
        return await self._held(await super().publish_batch(messages))

    async def _held(self, answer: Answer) -> Answer:
        self.stored.set()
        await self.answers.wait()
        return answer


@pytest.mark.parametrize("trouble", ["answer lost", "never arrived"])
async def test_row_without_an_answer_is_published_again_and_stored_once(counter: Counter, trouble: Trouble) -> None:
    broker = TroubledBroker(counter.broker, *[trouble] * 2)
    rows = rows_of("a", versions=3)
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
    assert broker.published == [rows[0].row.event_id] * 2 + [numbered.row.event_id for numbered in rows]
    await assert_stored(counter, rows, marks)


@pytest.mark.parametrize("trouble", ["answer lost", "never arrived"])
async def test_batch_without_an_answer_is_published_again_and_stored_once(counter: Counter, trouble: Trouble) -> None:
    broker = TroubledBroker(counter.broker, trouble)
    rows = rows_of("a", "b", versions=BATCH_AT_LEAST)
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
    assert broker.batches == [len(rows)] * 2
    await assert_stored(counter, rows, marks)


async def test_batch_of_which_one_row_is_stored_already_is_resolved_singly(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    rows = rows_of("a", "b", versions=BATCH_AT_LEAST)
    await publish(counter, rows[0])
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
    assert marks[1] == 1
    await assert_stored(counter, rows, marks)


async def test_row_that_is_stored_already_is_not_stored_again(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    rows = rows_of("a", versions=2)
    await publish(counter, rows[0])
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
    assert relay.blocked.reasons == {}
    await assert_stored(counter, rows, marks)


async def test_other_content_under_the_id_of_a_row_stops_its_key_alone(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    rows = rows_of("a", "b", versions=3)
    await counter.publish("evt.till.Rung.a", b"{}", rows[0].row.event_id)
    async with publishing(broker) as (relay, marked):
        relay.add(rows)
        marks = await marked()
        assert sorted(marks) == [2, 4, 6]
        assert relay.blocked.reasons == {"a": "EVENTS has another message under the id till/till-a@1, at sequence 1"}
        relay.add([row(7, "a", 4), row(8, "b", 4)])
        assert sorted(await marked()) == [2, 4, 6, 8]
        assert relay.backlog == 4


async def test_row_that_is_refused_stops_its_key_alone(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker, OTHER_STREAM_EXPECTED)
    async with publishing(broker) as (relay, marked):
        relay.add([row(1, "a", 1)])
        assert await marked() == {}
        relay.add([row(2, "a", 2), row(3, "b", 1)])
        assert list(await marked()) == [3]
        assert relay.blocked.reasons == {"a": str(OTHER_STREAM_EXPECTED)}
    assert broker.published == ["till/till-a@1", "till/till-b@1"]


async def test_batch_leaves_out_the_rows_of_a_blocked_key(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker, OTHER_STREAM_EXPECTED)
    async with publishing(broker) as (relay, marked):
        relay.add([row(1, "a", 1)])
        assert await marked() == {}
        others = [row(n + 2, "b", n) for n in range(1, BATCH_AT_LEAST + 1)]
        relay.add([row(2, "a", 2), *others])
        marks = await marked()
    assert broker.batches == [BATCH_AT_LEAST]
    await assert_stored(counter, others, marks)


async def test_full_stream_is_waited_for(counter: Counter) -> None:
    full = BrokerRefusedError(STREAM_FULL, "maximum messages exceeded")
    broker = TroubledBroker(counter.broker, full, full)
    rows = rows_of("a", versions=2)
    with capture_logs() as lines:
        async with publishing(broker) as (relay, marked):
            relay.add(rows)
            marks = await marked()
    assert relay.blocked.reasons == {}
    await assert_stored(counter, rows, marks)
    raised, cleared = [line for line in lines if line["event"].startswith("alarm")]
    assert (raised["event"], raised["kind"], raised["subject"]) == ("alarm raised", "stream_full", "EVENTS")
    assert "raise its max_msgs or max_bytes in streams.yaml" in raised["remedy"]
    assert (cleared["event"], cleared["count"]) == ("alarm cleared", 2)


async def test_rows_of_a_partition_that_was_let_go_are_left_to_others(counter: Counter) -> None:
    broker = TroubledBroker(counter.broker)
    kept, left = row(1, "a", 1, partition=0), row(2, "b", 1, partition=1)
    async with publishing(broker) as (relay, marked):
        relay.add([kept, left])
        relay.revoke(1)
        assert list(await marked()) == [1]


async def publish(counter: Counter, numbered: NumberedRow) -> None:
    """Store a row as an earlier process did."""
    await counter.broker.publish(Outgoing(numbered.row.subject, numbered.row.headers, numbered.row.body))
