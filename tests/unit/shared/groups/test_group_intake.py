"""The intake of a group: an event has its time in UTC, or is set aside."""

from datetime import UTC, datetime

import pytest
from msgspec import Struct

from shared.groups.read.intake import Admitted, Intake
from shared.ports.broker import Delivery
from shared.ports.clock import since_1970_ns
from shared.readside.dataflow import Says, source
from shared.readside.group import Group
from shared.readside.views import On, Table
from shared.wire.messages import MSG_ID, OCCURRED_AT

STORED_AT = datetime(2026, 11, 28, 9, tzinfo=UTC)


class ThingDone(Struct, frozen=True):
    """An event."""


class ThingNoted(Struct, frozen=True):
    """An event that the group says."""

    thing_id: str


def admitted(occurred_at: str) -> Admitted:
    table = Table(name="things", row=ThingDone, on=(On("here", ThingDone, lambda row, _, __: row),))
    intake = Intake("there", Group(name="all", tables=(table,)))
    headers = {MSG_ID: "here/thing-t-1@1", OCCURRED_AT: occurred_at}
    delivery = Delivery(
        sequence=1, at_ns=since_1970_ns(STORED_AT), subject="evt.here.ThingDone.0.t-1", headers=headers, body=b"{}"
    )
    named, _, strangers = intake.named([delivery])
    return intake.admit(named, {}, strangers)


@pytest.mark.parametrize(
    ("said", "at"),
    [
        ("2026-11-28T08:00:00Z", datetime(2026, 11, 28, 8, tzinfo=UTC)),
        ("2026-11-28T08:00:00+02:00", datetime(2026, 11, 28, 6, tzinfo=UTC)),
        ("2030-01-01T00:00:00Z", STORED_AT),
    ],
    ids=["UTC", "another offset", "after it was stored"],
)
def test_the_time_of_an_event_is_in_utc_and_not_after_it_was_stored(said: str, at: datetime) -> None:
    (heard,) = admitted(said).heard
    assert (heard.told.at, heard.told.at.tzinfo) == (at, UTC)


@pytest.mark.parametrize("said", ["yesterday", "2026-11-28T08:00:00", "0001-01-01T00:00:00+14:00"])
def test_an_event_without_a_time_that_can_be_is_set_aside(said: str) -> None:
    found = admitted(said)
    assert (found.heard, [one.sequence for one in found.poison]) == ([], [1])


@pytest.mark.parametrize(
    ("ids", "folded"),
    [
        (["t-1@1", "t-1@2", "t-1@1", "t-1@2"], ["t-1@1", "t-1@2"]),
        (["t-1@1", "t-1@1.2", "t-1@1.2", "t-1@1"], ["t-1@1", "t-1@1.2"]),
        (["t-1@1.2", "t-1@1.3", "t-1@1.2", "t-1@2"], ["t-1@1.2", "t-1@1.3", "t-1@2"]),
        (["t-1@1.2", "t-1@2", "t-1@1.2", "t-1@1.x", "t-1@1.9999999999999"], ["t-1@1.2", "t-1@2"]),
    ],
)
def test_a_version_and_each_later_edition_of_it_are_folded_once(ids: list[str], folded: list[str]) -> None:
    """In one batch or in several: the database remembers in between."""
    table = Table(name="things", row=ThingDone, on=(On("here", ThingDone, lambda row, _, __: row),))
    intake = Intake("there", Group(name="all", tables=(table,)))
    deliveries = [
        Delivery(
            sequence=number,
            at_ns=since_1970_ns(STORED_AT),
            subject="evt.here.ThingDone.0.t-1",
            headers={MSG_ID: f"here/thing-{one}"},
            body=b"{}",
        )
        for number, one in enumerate(ids, 1)
    ]
    for size in (1, len(ids)):
        remembered: dict[str, int] = {}
        heard: list[str] = []
        for first in range(0, len(ids), size):
            named, _, strangers = intake.named(deliveries[first : first + size])
            found = {name: remembered[name] for one in named for name in one.remembered if name in remembered}
            admitted = intake.admit(named, found, strangers)
            remembered |= admitted.versions
            heard += [one.identity.removeprefix("here/thing-") for one in admitted.heard]
        assert heard == folded


@pytest.mark.parametrize(
    ("identity", "is_ours"),
    [
        ("there/thingNoted-t-1@1", True),
        ("there/thingNoted-t-2@1", False),
        ("there/thingMissed-t-1@1", False),
        ("t-1", False),
    ],
    ids=["ours", "of another key", "of another type", "no id that a context gives"],
)
def test_the_id_of_another_event_under_a_subject_of_ours_is_a_strangers(identity: str, is_ours: bool) -> None:
    """Taken for ours, it would keep the group from saying that other event."""
    noted = source("here", ThingDone) | Says(ThingNoted, key="thing_id", event=lambda _: None)
    intake = Intake("there", Group(name="all", topologies=(noted,)))
    delivery = Delivery(
        sequence=7,
        at_ns=since_1970_ns(STORED_AT),
        subject="evt.there.ThingNoted.0.t-1",
        headers={MSG_ID: identity},
        body=b"{}",
    )
    named, own, strangers = intake.named([delivery])
    assert (len(named), own, strangers) == ((1, [(7, identity)], 0) if is_ours else (0, [], 1))
