"""Deadlines are messages, which are decided when they are due."""

from datetime import UTC, datetime, timedelta

from tests.integration.engine import Counter, closing_at, running
from tests.integration.keys import TILL


async def test_timer_is_decided_when_it_is_due(counter: Counter) -> None:
    async with running(counter):
        soon = datetime.now(UTC) + timedelta(milliseconds=200)
        await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(soon))
        closed = await counter.watcher.until(TILL, "TillClosed")
    assert datetime.fromisoformat(closed.headers["Occurred-At"]) >= soon


async def test_later_deadline_takes_the_place_of_the_earlier(counter: Counter) -> None:
    async with running(counter):
        await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(datetime.now(UTC) + timedelta(hours=1)))
        await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(datetime.now(UTC)))
        await counter.watcher.until(TILL, "TillClosed")


async def test_timer_is_decided_after_every_event_that_was_there_when_it_came_due(counter: Counter) -> None:
    """A worker that was away for long must not close before it has heard of the sales meanwhile."""
    async with running(counter):
        soon = datetime.now(UTC) + timedelta(milliseconds=100)
        await counter.publish(f"cmd.till.CloseAt.{TILL}", closing_at(soon))
        await counter.watcher.until(TILL, "ClosingScheduled")
    scanned = 600  # More than the worker asks for at once.
    for number in range(1, scanned + 1):
        await counter.scan(TILL, 1, f"scanner/scan-t-1@{number}")
    await counter.timers.until(TILL, "ClosingTime", times=2)  # Set, and due.
    async with running(counter, batch_at_most=50):
        closed = await counter.watcher.until(TILL, "TillClosed")
    assert closed.content["total"] == scanned
