"""`chorus flow --live` puts rates and durations of the last minute on the graph."""

from collections.abc import Iterator

import pytest

from contexts.sagas import SAGAS
from shared.cli.commands.flow import live_as_json
from shared.flow.drawing.board import Board, board
from shared.flow.drawing.live import measured
from shared.flow.drawing.mermaid import flowchart
from shared.flow.drawing.svg import drawing
from shared.flow.drawing.text import edges
from shared.flow.graph import derive
from shared.flow.rates.edges import EdgeRate
from shared.flow.rates.latest import Latest, read_latest
from shared.flow.selection import Selection, select
from shared.simulation.testing import Simulation, simulation
from tests.unit.shopping import fill_shelves, order


@pytest.fixture(scope="module")
def shop() -> Iterator[Simulation]:
    with simulation(seed=1) as running:
        fill_shelves(running)
        for number in range(6):
            running.send(order(), key=f"o-{number}")
        running.run_until_quiet()
        yield running


@pytest.fixture(scope="module")
def latest(shop: Simulation) -> Latest:
    return shop.run(read_latest(shop._broker, shop.now))


@pytest.fixture(scope="module")
def selection(shop: Simulation) -> Selection:
    return select(derive(shop._world.members), SAGAS, "purchase", None)


def board_of(selection: Selection, context: str) -> Board:
    return next(board(panel) for panel in selection.panels if panel.context == context)


def test_events_and_edges_of_the_last_minute_have_their_rates(latest: Latest) -> None:
    assert latest.seconds == pytest.approx(60, abs=1)
    assert latest.events["ordering.OrderPlaced"] == pytest.approx(0.1, abs=0.01)
    edge = next(
        one for one in latest.edges if (one.cause, one.event) == ("ordering.OrderPlaced", "inventory.InventoryReserved")
    )
    assert edge.per_s == pytest.approx(0.1, abs=0.01)
    assert 0 < edge.p50_s <= edge.p99_s


def test_events_of_an_earlier_minute_have_none() -> None:
    with simulation(seed=1, at_work=("ordering", "inventory")) as running:
        fill_shelves(running)
        running.run_until_quiet()
        running.send(order(), key="o-1")
        running.run_until("o-1", "InventoryReserved")
        running.advance(minutes=2)
        found = running.run(read_latest(running._broker, running.now))
    assert "ordering.OrderPlaced" not in found.events
    assert not [edge for edge in found.edges if edge.cause == "ordering.OrderPlaced"]


def test_edge_to_a_reaction_is_labelled_and_its_events_have_their_rate(latest: Latest, selection: Selection) -> None:
    drawn = measured(board_of(selection, "inventory"), latest.events, latest.edges)
    place = drawn.names.index("ordering.OrderPlaced")
    ((rate, duration),) = (texts for (source, _), texts in drawn.labels.items() if source == place)
    assert rate == "0.10/s"
    assert duration.endswith(" ms")
    assert "0.10/s" in drawn.notes[drawn.names.index("inventory.InventoryReserved")].small
    assert f">{duration}</text>" in drawing([drawn], "test")
    assert any(f"-->|{rate}<br/>{duration}|" in line for line in flowchart([drawn]))


def test_event_that_did_not_come_is_not_labelled(latest: Latest, selection: Selection) -> None:
    drawn = measured(board_of(selection, "inventory"), latest.events, latest.edges)
    quiet = {place for place, name in enumerate(drawn.names) if name not in latest.events}
    assert {place for place in quiet if drawn.notes[place].column == 0}
    assert not [text for (source, _), text in drawn.labels.items() if source in quiet]


def test_text_and_json_have_the_edges_to_the_selected_events(latest: Latest, selection: Selection) -> None:
    (table,) = edges(selection, latest)
    assert getattr(table, "row_count", 0) > 5
    said = live_as_json(selection, latest)
    found = [(edge["cause"], edge["event"]) for edge in said["edges"]]
    assert ("ordering.OrderPlaced", "inventory.InventoryReserved") in found
    assert said["rates"]["ordering.OrderConfirmed"] > 0
    other = EdgeRate(cause="a.B", event="c.D", per_s=1.0, p50_s=0.1, p99_s=0.1)
    assert [*edges(selection, Latest(seconds=60.0, events={}, edges=(other,)))] == ["no event came in the last 60 s"]
