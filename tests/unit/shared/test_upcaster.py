"""An event of an older version becomes the newest before anyone decides, through every version between."""

from datetime import UTC, datetime
from typing import Annotated

import pytest
from msgspec import Struct

from shared.upcaster import EventDecoder, Upcaster
from shared.wire.bodies import MalformedBodyError
from shared.wire.messages import FROM_STREAM, FROM_SUBJECT, NEVER, OCCURRED_AT, SCHEMA_VERSION

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
STORED = datetime(2026, 11, 21, 12, 1, tzinfo=UTC)


class Thing1(Struct, frozen=True, kw_only=True):
    thing_id: Annotated[str, FROM_SUBJECT] = ""
    size: int


class Thing3(Struct, frozen=True, kw_only=True):
    thing_id: str
    width: int
    height: int


class Thing(Struct, frozen=True, kw_only=True):
    thing_id: Annotated[str, FROM_SUBJECT] = ""
    width: int
    height: int
    made_at: datetime
    at: Annotated[datetime, FROM_STREAM] = NEVER


def square(event: Thing1, occurred_at: datetime) -> Thing3:
    del occurred_at
    return Thing3(thing_id=event.thing_id, width=event.size, height=event.size)


def made(event: Thing3, occurred_at: datetime) -> Thing:
    return Thing(thing_id=event.thing_id, width=event.width, height=event.height, made_at=occurred_at)


def fails(event: Thing1, occurred_at: datetime) -> Thing3:
    raise ZeroDivisionError(f"{event.size} at {occurred_at}")


CHAIN = (
    Upcaster(event=Thing, older=Thing3, until=4, upcast=made),
    Upcaster(event=Thing, older=Thing1, until=2, upcast=square),
)
DECODER = EventDecoder(Thing, CHAIN)
NEWEST = Thing(thing_id="t-1", width=2, height=2, made_at=NOON, at=STORED)


def decoded(body: bytes, *, decoder: EventDecoder = DECODER, **headers: str) -> Thing:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    thing: Thing = decoder.decode(body, key="t-1", at=STORED, headers={OCCURRED_AT: NOON.isoformat(), **named})
    return thing


@pytest.mark.parametrize("version", ["1", "2"])
def test_the_oldest_form_goes_through_every_version(version: str) -> None:
    assert decoded(b'{"size": 2}', Schema_Version=version) == NEWEST


@pytest.mark.parametrize("version", ["3", "4"])
def test_a_form_between_goes_through_the_rest(version: str) -> None:
    assert decoded(b'{"thing_id": "t-1", "width": 2, "height": 2}', Schema_Version=version) == NEWEST


@pytest.mark.parametrize("version", ["5", "6", "no number"])
def test_a_newer_version_is_read_as_the_form_of_today(version: str) -> None:
    body = b'{"width": 2, "height": 2, "made_at": "2026-11-21T12:00:00Z", "more": 1}'
    assert decoded(body, Schema_Version=version) == NEWEST


def test_a_message_without_a_version_has_the_oldest_form() -> None:
    """Timers of the first release say neither their version nor when their event occurred."""
    thing = DECODER.decode(b'{"size": 2}', key="t-1", at=STORED, headers={})
    assert (thing.width, thing.made_at) == (2, STORED)


@pytest.mark.parametrize("body", [b"{", b'{"size": "2"}', b'{"width": 2}'])
def test_a_body_of_another_form_than_its_version_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBodyError):
        decoded(body, Schema_Version="1")


def test_an_upcaster_that_fails_makes_the_event_poison_and_names_it() -> None:
    decoder = EventDecoder(Thing1, [Upcaster(event=Thing1, older=Thing1, until=1, upcast=fails)])
    with pytest.raises(MalformedBodyError, match="the upcaster of Thing1 fails: ZeroDivisionError: 2 at 2026"):
        decoded(b'{"size": 2}', decoder=decoder, Schema_Version="1")


def test_an_event_without_upcasters_costs_nothing() -> None:
    """Routing then holds no decoder of versions, and reads no header."""
    assert EventDecoder(Thing).if_any is None
    assert not DECODER.is_older({SCHEMA_VERSION: "5"})
    assert DECODER.is_older({SCHEMA_VERSION: "4"})
