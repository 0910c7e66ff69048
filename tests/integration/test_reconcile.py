"""Reconcile publishes lost events again, and reports differences that publishing cannot mend."""

from datetime import UTC, datetime, timedelta

import anyio
import nats
import pytest

from shared.adapters.clock import SystemClock
from shared.cli.commands.reconcile import lines_of
from shared.derived.topology import declare
from shared.ports.broker import BrokerUnavailableError, Outgoing
from shared.repair.rebuild import rebuild
from shared.repair.reconcile import Difference, compare, publish_missing
from shared.streams.apply import apply
from tests.integration.engine import PARTITIONS, TOPOLOGY, Counter, running
from tests.integration.keys import TILL
from tests.integration.test_unanswered import DeafBroker
from tests.integration.till import scanner, till
from tests.waiting import WITHIN_S


async def difference(counter: Counter) -> Difference:
    return await compare(counter.broker, counter.databases, "till")


async def mend(counter: Counter) -> int:
    return await publish_missing(counter.broker, counter.databases, SystemClock(), till(), partitions=PARTITIONS)


async def ring_three_times(counter: Counter) -> None:
    """Let a worker ring three times, then stop it."""
    async with running(counter):
        for amount in (1, 2, 3):
            await counter.ring(TILL, amount)
        await counter.watcher.until(TILL, "Rung", times=3)


async def test_nothing_differs_where_nothing_was_lost(counter: Counter) -> None:
    await ring_three_times(counter)
    found = await difference(counter)
    assert found.is_none
    assert found.there == 3
    assert await mend(counter) == 0


@pytest.mark.parametrize("worker_is", ["running", "stopped"])
async def test_what_was_lost_is_published_again_in_its_order(counter: Counter, worker_is: str) -> None:
    await ring_three_times(counter)
    await counter.lose_events()
    assert (await difference(counter)).missing == tuple(f"till/till-{TILL}@{version}" for version in (1, 2, 3))
    assert await mend(counter) == 3
    assert (await difference(counter)).is_none
    await counter.watcher.until(TILL, "Rung", times=3)
    assert counter.totals(TILL) == [1, 3, 6]
    if worker_is == "running":
        async with running(counter):
            await counter.ring(TILL, 4)
            await counter.watcher.until(TILL, "Rung", times=4)
        assert counter.totals(TILL) == [1, 3, 6, 10]


async def test_database_is_rebuilt_from_a_stream_that_was_put_together_anew(counter: Counter) -> None:
    """In such a stream an effect may precede its cause, and an undecided message a decided one."""
    async with running(counter):
        await counter.scan(TILL, 1, "scanner/scan-t-1@1")
        await counter.watcher.until(TILL, "Rung")
    await counter.lose_events()
    await counter.scan(TILL, 2, "scanner/scan-t-1@2")
    await mend(counter)
    await counter.scan(TILL, 1, "scanner/scan-t-1@1")
    await rebuild(till(), counter.broker, counter.databases, partitions=PARTITIONS, force=True)
    async with running(counter):
        await counter.watcher.until(TILL, "Rung", times=2)
        await counter.ring(TILL, 4)
        await counter.watcher.until(TILL, "Rung", times=3)
    assert counter.totals(TILL) == [1, 3, 7]


async def test_timer_that_was_lost_is_armed_again_unless_it_is_over(counter: Counter) -> None:
    async with running(counter):
        for key, wait in (("t-soon", timedelta(0)), ("t-late", timedelta(seconds=3))):
            closes_at = (datetime.now(UTC) + wait).isoformat()
            await counter.publish(f"cmd.till.CloseAt.{key}", b'{"closes_at": "%s"}' % closes_at.encode())
        await counter.watcher.until("t-soon", "TillClosed")
        await counter.watcher.until("t-late", "ClosingScheduled")
    await counter.broker.api("$JS.API.STREAM.DELETE.TIMERS", b"")
    await apply(counter.broker.api, declare(TOPOLOGY, (till(), scanner())))
    assert (await difference(counter)).missing == ("till/till-t-late@1/ClosingTime",)
    assert await mend(counter) == 1
    assert (await difference(counter)).is_none
    async with running(counter):
        await counter.watcher.until("t-late", "TillClosed")


async def test_timer_that_another_message_of_its_subject_has_ended_is_armed_again(forgetful_counter: Counter) -> None:
    """A client has the answer to its request stored there, and the server then does not fire the timer."""
    counter, timer = forgetful_counter, f"timer.till.ClosingTime.{TILL}"
    async with running(counter):
        await counter.publish(f"cmd.till.CloseAt.{TILL}", b'{"closes_at": "2999-01-01T00:00:00Z"}')
        await counter.watcher.until(TILL, "ClosingScheduled")
    armed = await counter.broker.stream_info("TIMERS")
    client = await nats.connect(counter.url)
    await client.publish("$JS.API.INFO", b"", reply=timer)
    await client.close()
    forged = {"Timer-Id": f"till/till-{TILL}@1/ClosingTime", "Nats-Schedule": "@at 2020-01-01T00:00:00Z"}
    forged["Nats-Schedule-Target"] = timer.replace("timer.", "due.")
    await counter.broker.publish(Outgoing(f"timer.scanner.Some.{TILL}", forged, b"{}"))
    await counter.timers.until(TILL, "ClosingTime", times=3)
    found = await difference(counter)
    assert found.missing == (f"till/till-{TILL}@1/ClosingTime",)
    assert lines_of(found, published=1)[-1].endswith("reconcile again after the duplicate_window")
    with anyio.fail_after(WITHIN_S):
        while not (await difference(counter)).is_none:  # The server remembers the id for a moment.
            assert await mend(counter) == 1
    left = await counter.broker.stream_info("TIMERS")
    assert left.messages == armed.messages + 1  # The forged one that came due.


async def test_other_content_and_unknown_events_are_reported_and_left_alone(counter: Counter) -> None:
    await ring_three_times(counter)
    counter.change("UPDATE journal SET body = '{}' WHERE version = 2")
    await counter.publish(f"evt.till.Rung.{TILL}", b"{}", f"till/till-{TILL}@4")
    found = await difference(counter)
    assert found.differing == (f"till/till-{TILL}@2",)
    assert found.unexplained == (f"till/till-{TILL}@4",)
    assert not found.missing


async def test_broker_that_acknowledges_nothing_is_away_and_the_error_says_what_to_do(counter: Counter) -> None:
    await ring_three_times(counter)
    await counter.lose_events()
    with pytest.raises(
        BrokerUnavailableError,
        match=r"^3 rows of till had no acknowledgement within 0\.5 s \(.*the broker answers, but not .*\); mend",
    ):
        await publish_missing(
            DeafBroker(counter.broker, TILL),
            counter.databases,
            SystemClock(),
            till(),
            partitions=PARTITIONS,
            within_s=0.5,
        )
