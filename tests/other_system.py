"""A small system of two contexts that is not the shop, for a directory: it books a flight, and then a room."""

from pathlib import Path

FLIGHTS = '''
from datetime import timedelta
from typing import Annotated

from msgspec import Meta, Struct

from shared.context import Aggregate, Context, Decider
from shared.wire.messages import FROM_SUBJECT
from travel.contexts.flights.settings import FlightsSettings


class BookFlight(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fly there."""

    trip_id: Annotated[str, FROM_SUBJECT] = ""
    to: str


class FlightBooked(Struct, frozen=True, kw_only=True):
    trip_id: str
    to: str


class Flight(Struct, frozen=True, kw_only=True):
    to: str = ""


def decide(command: BookFlight, flight: Flight) -> tuple[FlightBooked, ...]:
    return () if flight.to else (FlightBooked(trip_id=command.trip_id, to=command.to),)


def evolve(flight: Flight, event: FlightBooked) -> Flight:
    return Flight(to=event.to)


FLIGHT = Aggregate(name="flight", key="trip_id", state=Flight, events=(FlightBooked,), evolve=evolve)


def context(settings: FlightsSettings) -> Context:
    assert settings.check_in == timedelta(hours=2)
    return Context(
        name="flights",
        deciders=(Decider(aggregate=FLIGHT, commands=(BookFlight,), decide=decide),),
        accepts=(BookFlight,),
    )
'''

FLIGHTS_SETTINGS = """
from datetime import timedelta
from typing import Annotated

from msgspec import Meta

from shared.config.settings import Settings


class FlightsSettings(Settings, frozen=True, kw_only=True):
    check_in: Annotated[timedelta, Meta(description="how early to be there")] = timedelta(hours=2)
"""

HOTELS = """
from msgspec import Struct

from shared.config.settings import Settings
from shared.context import Aggregate, Context, Decider, Policy


class BookRoom(Struct, frozen=True, kw_only=True):
    trip_id: str


class RoomBooked(Struct, frozen=True, kw_only=True):
    trip_id: str


class Room(Struct, frozen=True, kw_only=True):
    booked: bool = False


class FlightBooked(Struct, frozen=True, kw_only=True):
    trip_id: str


def decide(command: BookRoom, room: Room) -> tuple[RoomBooked, ...]:
    return () if room.booked else (RoomBooked(trip_id=command.trip_id),)


def evolve(room: Room, event: RoomBooked) -> Room:
    return Room(booked=True)


def whenever_flight_booked_book_a_room(event: FlightBooked) -> list[BookRoom]:
    return [BookRoom(trip_id=event.trip_id)]


ROOM = Aggregate(name="room", key="trip_id", state=Room, events=(RoomBooked,), evolve=evolve)


def context(settings: Settings) -> Context:
    return Context(
        name="hotels",
        deciders=(Decider(aggregate=ROOM, commands=(BookRoom,), decide=decide),),
        policies=(Policy("flights", FlightBooked, whenever_flight_booked_book_a_room),),
    )
"""

SAGAS = """
from datetime import timedelta

from shared.saga import End, Saga

SAGAS = (
    Saga(
        name="trip",
        key="trip_id",
        first=("flights.FlightBooked",),
        ends=(End(name="booked", events=("hotels.RoomBooked",)),),
        slow_after=timedelta(hours=1),
    ),
)
"""

TESTED = """
from shared.simulation.testing import simulation
from travel.contexts.flights.worker import BookFlight

with simulation(seed=1) as running:
    running.send(BookFlight(to="Bern"), key="t-1")
    running.run_until_quiet()
    print(*running.facts("t-1"))
"""


def write_system(directory: Path) -> None:
    """`travel.contexts` and a pyproject.toml that names it."""
    files = {
        "pyproject.toml": '[tool.chorus]\ncontexts = "travel.contexts"\n',
        "travel/__init__.py": "",
        "travel/contexts/__init__.py": "",
        "travel/contexts/sagas.py": SAGAS,
        "travel/contexts/flights/__init__.py": "",
        "travel/contexts/flights/settings.py": FLIGHTS_SETTINGS,
        "travel/contexts/flights/worker.py": FLIGHTS,
        "travel/contexts/hotels/__init__.py": "",
        "travel/contexts/hotels/worker.py": HOTELS,
        "tested.py": TESTED,
    }
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
