"""`chorus replay insights --diff --swap` in virtual time: a second read model, and how it takes over."""

import asyncio
import json
import shutil
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from contexts.insights.projections import ORDERS, OrderRow
from contexts.insights.upstream import OrderConfirmed
from shared import catalog
from shared.adapters.memory import MemoryBroker
from shared.adapters.sqlite.reading import open_read_only
from shared.adapters.sqlite.views.second import SqliteSecond
from shared.adapters.sqlite.views.store import SqliteViewStore, successor_of
from shared.derived.topology import declare
from shared.ports.broker import Stored, StreamInfo
from shared.ports.store import DatabaseError
from shared.readside.group import Group
from shared.readside.views import On, Told
from shared.replay.read_model import NotComparableError, ReadModelReplay, line, sequence_at
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import MSG_ID
from shared.wire.streams import EVENTS
from tests.unit.shopping import CANCEL, fill_shelves, order

PLACE = "insights-projection"


class OnlyReads:
    """A broker that can do nothing but read."""

    def __init__(self, shop: Simulation) -> None:
        self._broker = MemoryBroker(shop.server, faultless=True)

    def read(self, stream: str, subject: str, *, first: int = 1, up_to: int = 0) -> AsyncIterator[Stored]:
        return self._broker.read(stream, subject, first=first, up_to=up_to)

    async def stream_info(self, stream: str) -> StreamInfo:
        return await self._broker.stream_info(stream)

    async def get(self, stream: str, sequence: int) -> Stored | None:
        return await self._broker.get(stream, sequence)


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(seed=1, partitions=2, with_read_sides=True) as opened:
        fill_shelves(opened)
        for key in ("o-1", "o-2"):
            opened.send(order(), key=key)
        opened.send(CANCEL, key="o-2")
        opened.run_until_quiet()
        yield opened


def group(name: str = "projection") -> Group:
    found = catalog.load_all(catalog.settings_with({})).read_sides["insights"].group(name)
    assert found is not None
    return found


def shouting(row: OrderRow | None, _: OrderConfirmed, told: Told) -> OrderRow | None:
    """Another fold: the mail address of an order that is confirmed is written large."""
    return row and structs.replace(row, email=row.email.upper(), state="CONFIRMED", changed_at=told.at)


def shouting_group() -> Group:
    """The projection with one other fold. Its shape is the same, so nothing but a replay can tell."""
    on = tuple(On("ordering", OrderConfirmed, shouting) if one.event is OrderConfirmed else one for one in ORDERS.on)
    found = group()
    return replace(found, tables=tuple(replace(one, on=on) if one is ORDERS else one for one in found.tables))


def second(shop: Simulation, of: Group, into: Path) -> SqliteSecond:
    return SqliteSecond(shop.directory / f"insights-{of.name}.db", into, of)


def differences(shop: Simulation, of: Group, into: Path, *, since: int = 0) -> list[str]:
    async def compared() -> list[str]:
        replay = ReadModelReplay("insights", of, second(shop, of, into), OnlyReads(shop))  # type: ignore[arg-type]
        return [line(one) async for one in replay.differences(since)]

    return shop.run(compared())


def waiting(shop: Simulation) -> Path:
    return successor_of(shop.directory / f"{PLACE}.db")


def take_over(shop: Simulation, of: Group, into: Path) -> None:
    second(shop, of, into).take_over()
    shop.run_until_quiet()
    assert not successor_of(shop.directory / f"insights-{of.name}.db").exists()


def asked(shop: Simulation, key: str) -> Any:
    body = json.dumps({"order_id": key}).encode()
    _, answer = shop.run(shop.asking("api.insights.Order", body, {}, within=timedelta(seconds=40)))
    return json.loads(answer)


def bucket(shop: Simulation, name: str) -> list[tuple[str, Any]]:
    stored = shop.server.stream(f"KV_{name}").messages.values()
    return [(message.subject.rpartition(".")[2], json.loads(message.body)) for message in stored]


@pytest.mark.parametrize("name", ["projection", "analytics"])
def test_the_same_code_gives_the_same_rows(shop: Simulation, name: str, tmp_path: Path) -> None:
    """The live group has had other batches, with strangers, poison, windows that the clock closed, own events."""
    shop.publish("evt.ordering.OrderCancelled.o-1", b"{}", {MSG_ID: "somebody"})
    shop.publish("evt.ordering.OrderCancelled.o-1", b"{}", {MSG_ID: "ordering/order-o-1@77"})
    shop.advance(hours=3)
    before = shop.server.stream(EVENTS).last_sequence
    assert differences(shop, group(name), tmp_path) == []
    assert shop.server.stream(EVENTS).last_sequence == before


def test_exactly_the_rows_are_shown_that_the_code_makes_otherwise(shop: Simulation, tmp_path: Path) -> None:
    assert differences(shop, shouting_group(), tmp_path) == [
        '~ orders o-1: $.email "ann@example.com" -> "ANN@EXAMPLE.COM"',
    ]


def test_only_rows_are_shown_that_an_event_from_the_given_place_on_has_changed(
    shop: Simulation, tmp_path: Path
) -> None:
    since = shop.server.stream(EVENTS).last_sequence + 1
    half_way = shop.now
    shop.advance(minutes=1)
    shop.send(order(), key="o-3")
    shop.run_until_quiet()
    shown = differences(shop, shouting_group(), tmp_path / "sequence", since=since)
    assert [one.partition(":")[0] for one in shown] == ["~ orders o-3"]
    assert shop.run(sequence_at(OnlyReads(shop), half_way)) == since  # type: ignore[arg-type]
    with pytest.raises(NotComparableError, match="not to 100000"):
        differences(shop, shouting_group(), tmp_path / "beyond", since=100_000)


def test_the_events_are_shown_that_other_code_says_otherwise_or_not_at_all(shop: Simulation, tmp_path: Path) -> None:
    shop.advance(hours=3)
    silent = tuple(one for one in group("analytics").topologies if one.name != "figures_per_minute")
    shown = differences(shop, replace(group("analytics"), topologies=silent), tmp_path)
    assert [one[: one.index("{") - 1] for one in shown if one.startswith("- event")] == [
        "- event insights/windowClosed-minute-20260101T0900Z@1"
    ]


def test_a_second_database_takes_over_while_queries_are_answered(shop: Simulation, tmp_path: Path) -> None:
    differences(shop, shouting_group(), tmp_path)
    shop.send(order(), key="o-3")
    shop.run_until_quiet()
    said, put = shop.server.stream(EVENTS).last_sequence, len(bucket(shop, "orders"))
    known = asked(shop, "o-1")["as_of"]["sequence"]
    assert second(shop, shouting_group(), tmp_path).take_over() == waiting(shop)

    async def ask_meanwhile() -> list[Any]:
        answers = []
        for _ in range(60):
            body = json.dumps({"order_id": "o-1"}).encode()
            answers.append(json.loads((await shop.asking("api.insights.Order", body, {}))[1]))
            await asyncio.sleep(0.02)
        return answers

    answers = shop.run(ask_meanwhile())
    assert [one["order"]["email"] for one in (answers[0], answers[-1])] == ["ann@example.com", "ANN@EXAMPLE.COM"]
    assert all(one["as_of"]["sequence"] >= known for one in answers)
    shop.run_until_quiet()
    assert not waiting(shop).exists()
    assert shop.server.stream(EVENTS).last_sequence == said
    written = bucket(shop, "orders")[put:]
    assert {key: row["email"] for key, row in written if key != "o-3"} == {"o-1": "ANN@EXAMPLE.COM"}
    shop.send(order(), key="o-4")
    shop.run_until_quiet()
    assert asked(shop, "o-4")["order"]["state"] == "SHIPPED"
    assert dict(bucket(shop, "orders"))["o-4"]["state"] == "SHIPPED"


def test_nothing_is_put_into_a_bucket_again_when_the_rows_are_the_same(shop: Simulation, tmp_path: Path) -> None:
    """But for those that the last event has changed: the mark of a bucket does not tell them from others."""
    assert differences(shop, group(), tmp_path) == []
    put = len(bucket(shop, "orders"))
    take_over(shop, group(), tmp_path)
    assert len(bucket(shop, "orders")) <= put + 1


def test_events_are_neither_lost_nor_said_twice(shop: Simulation, tmp_path: Path) -> None:
    """The second database knows by the stream what was said, and its windows stay open where they were."""
    shop.advance(hours=3)
    shop.send(order(), key="o-3")
    shop.run_until_quiet()
    assert differences(shop, group("analytics"), tmp_path) == []
    take_over(shop, group("analytics"), tmp_path)
    shop.advance(hours=3)
    closed = [event.key for event in shop._events() if event.type == "WindowClosed"]
    assert closed == [
        "minute-20260101T0900Z",
        "hour-20260101T0900Z",
        "minute-20260101T1200Z",
        "hour-20260101T1200Z",
    ]


@pytest.mark.parametrize("ms", [4, 12, *(pytest.param(ms, marks=pytest.mark.long) for ms in range(0, 24, 2))])
def test_a_process_that_is_killed_while_it_goes_over_starts_with_one_of_the_two(ms: int, tmp_path: Path) -> None:
    """From the moment on in which it opens the second database: nothing is lost, nothing is said or put twice."""
    with simulation(seed=ms, partitions=2, with_read_sides=True) as shop:
        fill_shelves(shop)
        shop.send(order(), key="o-1")
        shop.run_until_quiet()
        differences(shop, shouting_group(), tmp_path)
        shop.send(order(), key="o-2")
        shop.run_until_quiet()
        said = shop.server.stream(EVENTS).last_sequence
        second(shop, shouting_group(), tmp_path).take_over()
        while not Path(f"{waiting(shop)}-wal").exists():
            shop.run(asyncio.sleep(0.0005))
        shop.run(asyncio.sleep(ms / 1_000))
        shop.kill("insights")
        shop.start("insights")
        shop.run_until_quiet()
        assert asked(shop, "o-1")["order"]["email"] == "ANN@EXAMPLE.COM"
        assert asked(shop, "o-2")["order"]["state"] == "SHIPPED"
        assert dict(bucket(shop, "orders"))["o-1"]["email"] == "ANN@EXAMPLE.COM"
        assert not waiting(shop).exists()
        assert shop.server.stream(EVENTS).last_sequence == said


def test_a_second_database_that_was_half_way_to_the_position_is_taken_at_the_start(
    shop: Simulation, tmp_path: Path
) -> None:
    """A kill leaves its log beside it, with commits that the file lacks."""
    differences(shop, shouting_group(), tmp_path)
    shop.kill("insights")
    shutil.move(tmp_path / f"{PLACE}.db", waiting(shop))
    writing = sqlite3.connect(waiting(shop), isolation_level=None)
    writing.execute("UPDATE v_orders SET row = json_set(row, '$.email', 'FROM@THE.LOG') WHERE key = 'o-1'")
    log = Path(f"{waiting(shop)}-wal").read_bytes()
    writing.close()
    Path(f"{waiting(shop)}-wal").write_bytes(log)
    shop.start("insights")
    shop.run_until_quiet()
    assert asked(shop, "o-1")["order"]["email"] == "FROM@THE.LOG"
    assert not waiting(shop).exists()


def test_a_second_database_waits_while_somebody_reads_the_live_one(shop: Simulation, tmp_path: Path) -> None:
    differences(shop, shouting_group(), tmp_path)
    with closing(open_read_only(shop.directory / f"{PLACE}.db")) as reading:
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM v_orders").fetchone()
        second(shop, shouting_group(), tmp_path).take_over()
        shop.run(asyncio.sleep(2))
        assert waiting(shop).exists()
        assert asked(shop, "o-1")["order"]["email"] == "ann@example.com"
    shop.run(asyncio.sleep(10))
    assert asked(shop, "o-1")["order"]["email"] == "ANN@EXAMPLE.COM"


def test_a_second_database_of_other_tables_waits_for_a_process_of_its_code(shop: Simulation, tmp_path: Path) -> None:
    of_next_release = replace(shouting_group(), version=2)
    assert "~ orders o-1" in differences(shop, of_next_release, tmp_path)[0]
    second(shop, of_next_release, tmp_path).take_over()
    shop.run_until_quiet()
    assert (waiting(shop).exists(), asked(shop, "o-1")["order"]["email"]) == (True, "ann@example.com")
    with pytest.raises(DatabaseError, match="waits already to become the live one"):
        second(shop, of_next_release, tmp_path).take_over()
    shop.kill("insights")

    async def started() -> Any:
        store = await SqliteViewStore.open(shop.directory / f"{PLACE}.db", of_next_release)
        try:
            return await store.read_aside(lambda view: (view.known().sequence > 0, view.row("orders", "o-1")))
        finally:
            await store.close()

    has_events, row = shop.run(started())
    assert (has_events, json.loads(bytes(row))["email"]) == (True, "ANN@EXAMPLE.COM")


def test_a_second_database_without_events_takes_over_too(tmp_path: Path) -> None:
    with simulation(seed=1, partitions=2, with_read_sides=True) as empty:
        assert differences(empty, group(), tmp_path) == []
        second(empty, group(), tmp_path).take_over()
        fill_shelves(empty)
        empty.send(order(), key="o-1")
        empty.run_until_quiet()
        assert not waiting(empty).exists()
        assert asked(empty, "o-1")["order"]["state"] == "SHIPPED"
        assert empty.rows(PLACE, "SELECT created <> '' FROM known") == [(1,)]


def test_a_log_of_another_database_is_never_replayed_on_a_second_one(shop: Simulation, tmp_path: Path) -> None:
    """The one before was deleted, and its log left."""
    differences(shop, shouting_group(), tmp_path)
    Path(f"{waiting(shop)}-wal").write_bytes(b"garbage")
    take_over(shop, shouting_group(), tmp_path)
    assert asked(shop, "o-1")["order"]["email"] == "ANN@EXAMPLE.COM"


def test_a_file_that_is_there_is_never_written_over(shop: Simulation, tmp_path: Path) -> None:
    differences(shop, group(), tmp_path)
    with pytest.raises(DatabaseError, match="there already; delete it"):
        differences(shop, group(), tmp_path)
    with pytest.raises(DatabaseError, match="where the live databases are"):
        differences(shop, group(), shop.directory)


def test_a_live_database_of_another_stream_is_not_compared(shop: Simulation, tmp_path: Path) -> None:
    for context in ("ordering", "inventory", "payments", "shipping", "notifications", "support", "bank", "insights"):
        shop.stop(context)
    shop.server.delete_stream(EVENTS)
    shop.server.apply(declare(shop._world.topology, catalog.members(shop._world.settings).values()))
    with pytest.raises(NotComparableError, match="another EVENTS"):
        differences(shop, group(), tmp_path)
