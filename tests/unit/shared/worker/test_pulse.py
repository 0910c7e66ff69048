"""The report that a worker writes once a second."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from shared.engine.decide.outgoing import timer_row
from shared.engine.monitor.alarms import Alarm, Kind
from shared.engine.monitor.counters import Counters
from shared.ports.rows import JournalRow, NumberedRow
from shared.wire.messages import CORRELATION_ID, OCCURRED_AT, SCHEMA_VERSION, rfc3339
from shared.worker.health_file import BYTES_AT_MOST, HealthFile, Report
from shared.worker.notify import Notifier
from shared.worker.pulse import ALARMS_AT_MOST, Pulse
from shared.worker.watchdog import Watchdog

OCCURRED = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
EVENT = JournalRow(
    "ordering/order-o-1@1",
    "order-o-1",
    1,
    "evt.ordering.OrderPlaced.o-1",
    "OrderPlaced",
    {CORRELATION_ID: "o-1", OCCURRED_AT: rfc3339(OCCURRED), SCHEMA_VERSION: "1"},
    b"{}",
    0,
)
TIMER = timer_row("ordering", EVENT, "ConfirmationDue", "o-1", OCCURRED)


def reported(directory: Path, oldest: list[NumberedRow | None], alarms: Sequence[Alarm] = ()) -> list[Report]:
    """The reports of a worker while each of these rows in turn is its oldest unpublished row."""
    process: Any = SimpleNamespace(
        relay=SimpleNamespace(oldest=None, blocked=SimpleNamespace(reasons={}), backlog=1),
        ownership=SimpleNamespace(partitions={}, owned=[]),
        loop=SimpleNamespace(stall=SimpleNamespace(seconds=0.0), counters=Counters()),
        alarms=SimpleNamespace(raised=alarms),
        partitions=1,
    )
    file = HealthFile(directory, "ordering")
    pulse = Pulse("ordering", Notifier(None), file, Watchdog())
    pulse.process = process
    reports = []
    for row in oldest:
        process.relay.oldest = row
        pulse.ready()
        reports.append(msgspec.json.decode(file.path.read_bytes(), type=Report))
    file.remove()
    return reports


def test_unpublished_event_is_as_old_as_it_says(tmp_path: Path) -> None:
    assert [report.unpublished_since for report in reported(tmp_path, [NumberedRow(1, EVENT), None])] == [
        OCCURRED,
        None,
    ]


@pytest.mark.parametrize("first", [None, NumberedRow(1, EVENT)])
def test_unpublished_timer_is_as_old_as_the_first_report_of_it(tmp_path: Path, first: NumberedRow | None) -> None:
    timer = NumberedRow(2, TIMER)
    _, seen, again, later = reported(tmp_path, [first, timer, timer, NumberedRow(4, TIMER)])
    assert seen.unpublished_since == seen.at
    assert again.unpublished_since == seen.at
    assert later.unpublished_since == later.at


def alarm(kind: Kind, subject: str) -> Alarm:
    """An alarm with texts that are as long as they may be."""
    return Alarm(kind=kind, subject=subject, reason="r" * 500, remedy="m" * 500, since=OCCURRED)


def test_report_of_a_worker_with_thousands_of_refused_keys_can_be_read_and_names_other_alarms_too(
    tmp_path: Path,
) -> None:
    alarms = [*(alarm("publication", f"o-{number}") for number in range(5_000)), alarm("backlog", "ordering")]
    (report,) = reported(tmp_path, [None], alarms)
    assert len(msgspec.json.encode(report)) < BYTES_AT_MOST
    assert [one["kind"] for one in report.alarms] == ["backlog", *["publication"] * (ALARMS_AT_MOST - 1)]
