"""Old and new workers, readers and events side by side (R18), in virtual time."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from contexts.shipping.commands import ReportDelivered
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.journal.databases import SqliteDatabases
from shared.adapters.sqlite.reading import open_read_only
from shared.config.settings import Settings
from shared.context import Context
from shared.repair.parked import parked_in, retry
from shared.repair.rebuild import rebuild
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import OCCURRED_AT, SCHEMA_VERSION
from tests import older
from tests.sagas import DELIVERED, OVERDUE, SHIPPED
from tests.unit.shopping import ending_of, fill_shelves, order

PARTITIONS = 2
SETTINGS = Settings()


@pytest.fixture
def shop() -> Iterator[Simulation]:
    """The shop of today without shipping and ordering: each test starts the release that it wants."""
    others = [name for name in catalog.names() if name not in ("shipping", "ordering")]
    with simulation(seed=1, partitions=PARTITIONS, at_work=others) as opened:
        yield opened


def newest(name: str) -> Context:
    found = catalog.load(name, SETTINGS)
    assert isinstance(found, Context)
    return found


def deliver(shop: Simulation, key: str) -> None:
    shop.send(ReportDelivered(tracking_no=shop.content(key, "OrderShipped")["tracking_no"]), key=key)
    shop.run_until_quiet()


def headers(shop: Simulation, key: str, event: str) -> Mapping[str, str]:
    """The headers of the event of this type."""
    stored = shop.server.stream("EVENTS").messages.values()
    (found,) = [one.headers for one in stored if (f".{event}." in one.subject and one.subject.endswith(f".{key}"))]
    return found


def version(shop: Simulation, key: str, event: str) -> str:
    return headers(shop, key, event)[SCHEMA_VERSION]


def test_a_new_reader_reads_the_event_of_an_old_writer(shop: Simulation) -> None:
    """F25: the field that the old event lacks is taken from its headers."""
    shop.start("shipping", member=older.shipping(SETTINGS))
    shop.start("ordering")
    fill_shelves(shop)
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    deliver(shop, "o-1")
    ending_of(shop, "o-1", DELIVERED)
    assert version(shop, "o-1", "OrderDelivered") == "1"
    assert "delivered_at" not in shop.content("o-1", "OrderDelivered")
    recorded = datetime.fromisoformat(shop.content("o-1", "DeliveryRecorded")["delivered_at"])
    assert recorded == datetime.fromisoformat(headers(shop, "o-1", "OrderDelivered")[OCCURRED_AT])


def test_an_old_reader_takes_the_event_of_a_new_writer(shop: Simulation) -> None:
    shop.start("shipping")
    shop.start("ordering", member=older.ordering(SETTINGS))
    fill_shelves(shop)
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    deliver(shop, "o-1")
    ending_of(shop, "o-1", DELIVERED)
    assert version(shop, "o-1", "OrderDelivered") == "2"
    assert shop.content("o-1", "DeliveryRecorded")["delivered_at"] is None


def test_an_old_and_a_new_worker_share_a_database_and_take_over_from_each_other(shop: Simulation) -> None:
    """Each decides on parcels that the other one has shipped."""
    shop.start("ordering")
    shop.start("shipping", partitions=[0], member=older.shipping(SETTINGS))
    shop.start("shipping", partitions=[1])
    fill_shelves(shop)
    keys = [f"o-{number}" for number in range(8)]
    for key in keys:
        shop.send(order(), key=key)
    shop.run_until_quiet()
    assert {version(shop, key, "OrderShipped") for key in keys} == {"1", "2"}

    shop.kill("shipping")
    shop.start("shipping", member=older.shipping(SETTINGS))  # Back to the release before.
    shop.run_until_quiet()
    for key in keys[:4]:
        deliver(shop, key)

    shop.kill("shipping")
    shop.start("shipping")
    shop.run_until_quiet()
    for key in keys[4:]:
        deliver(shop, key)
    for key in keys:
        ending_of(shop, key, DELIVERED)
    assert {version(shop, key, "OrderDelivered") for key in keys} == {"1", "2"}


def test_a_rebuild_from_old_and_new_events_gives_the_live_states_and_watches_old_parcels(
    shop: Simulation, tmp_path: Path
) -> None:
    shop.start("ordering")
    shop.start("shipping", member=older.shipping(SETTINGS))
    fill_shelves(shop)
    for key in ("o-1", "o-2"):
        shop.send(order(), key=key)
    shop.run_until_quiet()
    deliver(shop, "o-1")
    shop.stop("shipping")
    shop.start("shipping")
    shop.send(order(), key="o-3")
    shop.run_until_quiet()
    ending_of(shop, "o-3", SHIPPED)
    live = dict(shop.rows("shipping", "SELECT id, state FROM aggregates"))

    broker = MemoryBroker(shop.server, faultless=True)
    shop.run(rebuild(newest("shipping"), broker, SqliteDatabases(tmp_path), partitions=PARTITIONS))
    rebuilt = open_read_only(tmp_path / "shipping.db")
    try:
        assert dict(rebuilt.execute("SELECT id, state FROM aggregates").fetchall()) == live
        armed = rebuilt.execute("SELECT subject FROM journal WHERE type = 'ParcelSilence'").fetchall()
    finally:
        rebuilt.close()
    assert sorted(armed) == [(f"timer.shipping.ParcelSilence.o-{number}",) for number in (1, 2, 3)]


def test_a_deadline_that_an_older_release_armed_is_decided(shop: Simulation) -> None:
    """Its message names no version, and its body has the form of the event at that time."""
    shop.start("ordering")
    shop.start("shipping")
    fill_shelves(shop)
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    timers = [one for one in shop.server.stream("TIMERS").messages.values() if "ParcelSilence" in one.subject]
    (armed,) = timers
    assert (armed.headers[SCHEMA_VERSION], OCCURRED_AT in armed.headers) == ("2", True)
    for name in (SCHEMA_VERSION, OCCURRED_AT):
        del armed.headers[name]  # type: ignore[attr-defined]  # As the first release wrote it.
    shop.advance(days=29)
    ending_of(shop, "o-1", OVERDUE)


def test_a_reader_without_the_upcaster_parks_the_event_and_loses_nothing(shop: Simulation) -> None:
    shop.start("shipping", member=older.shipping(SETTINGS))
    shop.start("ordering", member=replace(newest("ordering"), upcasters=()))
    fill_shelves(shop)
    shop.send(order(), key="o-1")
    shop.run_until_quiet()
    deliver(shop, "o-1")
    ((reason,),) = shop.rows("ordering", "SELECT reason FROM parked")
    assert "missing required field `delivered_at`" in reason

    shop.stop("ordering")
    databases = SqliteDatabases(shop.directory)
    shop.run(retry(databases, parked_in(databases, ["ordering"]), who="an operator"))
    shop.start("ordering")
    shop.run_until("o-1", "MessageUnparked")
    assert shop.facts("o-1", of="ordering")[-2:] == ["DeliveryRecorded", "MessageUnparked"]
    assert shop.rows("ordering", "SELECT reason FROM parked") == []
