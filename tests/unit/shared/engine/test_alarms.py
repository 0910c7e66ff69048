"""Alarms: raised once, counted while they last, cleared once."""

from datetime import UTC, datetime, timedelta

import structlog.testing

from shared.engine.monitor.alarms import REASON_LENGTH_AT_MOST, Alarms


class FixedClock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 24, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return self.time.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


def test_alarm_that_is_met_again_counts_and_keeps_when_it_began() -> None:
    clock = FixedClock()
    alarms = Alarms(clock)
    alarms.raise_("database", "till.db", reason="locked", remedy="wait")
    began = clock.now()
    clock.time += timedelta(seconds=5)
    alarms.raise_("database", "till.db", reason="full", remedy="free some space")
    (alarm,) = alarms.raised
    assert (alarm.count, alarm.since, alarm.reason, alarm.remedy) == (2, began, "full", "free some space")


def test_alarm_is_logged_when_it_begins_and_when_it_ends() -> None:
    with structlog.testing.capture_logs() as lines:
        alarms = Alarms(FixedClock())
        for _ in range(100):
            alarms.raise_("broker", "nats", reason="no answer", remedy="start it")
        alarms.clear("broker", "nats")
        alarms.clear("broker", "nats")
    assert [(line["event"], line.get("count")) for line in lines] == [("alarm raised", None), ("alarm cleared", 100)]


def test_alarms_of_a_kind_are_cleared_but_for_those_that_last() -> None:
    alarms = Alarms(FixedClock())
    for subject in ("a", "b"):
        alarms.raise_("publication", subject, reason="refused", remedy="retry")
    alarms.raise_("broker", "c", reason="away", remedy="start it")
    alarms.clear_except("publication", ["b"])
    assert [alarm.subject for alarm in alarms.raised] == ["b", "c"]


def test_reason_is_bounded() -> None:
    alarms = Alarms(FixedClock())
    alarms.raise_("server", "nats", reason="x" * 10_000, remedy="restart it")
    assert len(alarms.raised[0].reason) == REASON_LENGTH_AT_MOST
