"""Operators choose by name from what waits for them."""

from datetime import UTC, datetime

from shared.repair.unresolved import Undelivered, choose
from tests.unit.shared.groups.endpoints import event


def test_all_events_of_a_group_can_be_named_at_once() -> None:
    """Its endpoint may have refused everything."""
    of_group = [undelivered("here-out", number) for number in (1, 2)]
    assert choose([*of_group, undelivered("here-other", 3)], "here-out") == of_group


def undelivered(place: str, number: int) -> Undelivered:
    row = event(f"k{number}", 1)
    return Undelivered(
        row=number,
        context=place,
        key=row.key,
        message_id=row.event_id,
        subject=f"evt.here.ThingDone.{row.key}",
        sequence=number,
        at=datetime(2026, 11, 28, 9, tzinfo=UTC),
        headers="{}",
        body="{}",
        reason="the endpoint answers 400",
        verdict="",
        behind=0,
    )
