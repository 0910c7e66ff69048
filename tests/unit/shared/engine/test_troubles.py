"""Alarms by what the broker says: while any source has the trouble, with the remedy that helps."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.adapters.clock import SystemClock
from shared.engine.monitor.alarms import Alarms
from shared.engine.monitor.troubles import STREAM_FULL, Troubles
from shared.ports.broker import BrokerDeniedError, BrokerRefusedError, BrokerUnavailableError, Denial
from shared.ports.store import DatabaseBusyError

AWAY = BrokerUnavailableError("nats: timeout")
MISSING = BrokerRefusedError(10014, "consumer not found", "EVENTS/till-0")


@pytest.fixture
def broker() -> Any:
    return SimpleNamespace(denials=[])


@pytest.fixture
def alarms() -> Alarms:
    return Alarms(SystemClock())


@pytest.fixture
def troubles(alarms: Alarms, broker: Any) -> Troubles:
    return Troubles(alarms, broker, "till")


def raised(alarms: Alarms) -> list[tuple[str, str]]:
    return [(alarm.kind, alarm.subject) for alarm in alarms.raised]


def test_alarm_lasts_while_any_source_has_it(alarms: Alarms, troubles: Troubles) -> None:
    for _ in range(100):
        troubles.failed("partition 0", AWAY)
        troubles.failed("publishing to EVENTS", AWAY)
    troubles.succeeded("partition 0")
    assert raised(alarms) == [("broker", "JetStream")]
    assert alarms.raised[0].count == 200
    troubles.succeeded("publishing to EVENTS")
    assert raised(alarms) == []


def test_missing_consumer_is_named_and_ends_the_alarm_that_the_broker_is_away(
    alarms: Alarms, troubles: Troubles
) -> None:
    troubles.failed("partition 0", AWAY)
    troubles.failed("partition 0", MISSING)
    assert raised(alarms) == [("consumer", "EVENTS/till-0")]
    assert (alarms.raised[0].reason, alarms.raised[0].remedy) == ("consumer not found", "run chorus streams apply")
    troubles.succeeded("partition 0")
    assert raised(alarms) == []


def test_full_stream_has_an_alarm_of_its_own(alarms: Alarms, troubles: Troubles) -> None:
    troubles.unpublished("EVENTS", BrokerRefusedError(STREAM_FULL, "maximum messages exceeded"))
    assert raised(alarms) == [("stream_full", "EVENTS")]
    troubles.published("EVENTS")
    assert raised(alarms) == []


def test_denial_has_one_alarm_for_all_keys(alarms: Alarms, troubles: Troubles, broker: Any) -> None:
    troubles.failed("partition 0", BrokerDeniedError("denied"))
    broker.denials = [Denial("publish", f"evt.till.Rung.t-{n}", "till", 3) for n in range(9)]
    for _ in range(5):
        troubles.check_permissions()
    assert raised(alarms) == [("permission", "evt.till.Rung.*")]
    broker.denials = []
    troubles.check_permissions()
    assert raised(alarms) == []


def test_busy_database_has_one_alarm_until_it_is_written_to(alarms: Alarms, troubles: Troubles) -> None:
    for _ in range(670):
        troubles.busy(DatabaseBusyError("till.db: database is locked"))
    assert (raised(alarms), alarms.raised[0].count) == ([("database", "till.db")], 670)
    troubles.committed()
    assert raised(alarms) == []
