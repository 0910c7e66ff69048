"""The analytics of the shop in virtual time: figures, events that are said once, and the ticket of an article."""

from collections.abc import Iterator

import pytest

from contexts.support.commands import ResolveTicket
from shared.simulation.testing import Simulation, simulation
from shared.wire.messages import CAUSATION_DEPTH, CAUSATION_ID, MSG_ID, OCCURRED_AT
from shared.wire.streams import EVENTS
from tests.unit.insights.test_projection_in_memory import asked
from tests.unit.shopping import fill_shelves, order


@pytest.fixture
def shop() -> Iterator[Simulation]:
    with simulation(seed=1, partitions=2, operator_email="help@shop.example", with_read_sides=True) as opened:
        fill_shelves(opened)
        yield opened


def order_now(shop: Simulation, key: str, quantity: int = 2) -> None:
    shop.send(order(quantity=quantity), key=key)
    shop.run_until_quiet()


def windows(shop: Simulation) -> list[str]:
    """The ids of the windows that were closed, as often as they were said."""
    kept = shop.server.stream(EVENTS).messages.values()
    return [one.subject.rpartition(".")[2] for one in kept if one.subject.startswith("evt.insights.WindowClosed.")]


def test_orders_are_counted_per_minute_and_their_lead_times_per_hour(shop: Simulation) -> None:
    for key in ("o-1", "o-2"):
        order_now(shop, key)
    shop.advance(minutes=2)
    order_now(shop, "o-3")
    (now, before) = asked(shop, "Figures", per="minute")["figures"]
    assert (before["figures"]["orders"], before["figures"]["revenue"], before["final"]) == (2, {"EUR": 1000}, True)
    assert (now["figures"]["orders"], now["final"]) == (1, False)
    (times,) = asked(shop, "LeadTimes", step="placed_to_paid")["lead_times"]
    assert times["orders"] == 3
    assert 0 < times["p50_s"] <= times["p99_s"] < 1
    assert len(windows(shop)) == 1


def test_the_windows_of_a_quiet_shop_close_without_a_later_event(shop: Simulation) -> None:
    order_now(shop, "o-1")
    shop.advance(minutes=1)
    assert windows(shop) == []
    shop.advance(minutes=1)
    assert windows(shop) == ["minute-20260101T0900Z"]
    (figures,) = asked(shop, "Figures", per="minute")["figures"]
    assert (figures["figures"]["orders"], figures["final"]) == (1, True)
    headers = {one.headers[MSG_ID]: one.headers for one in shop.server.stream(EVENTS).messages.values()}
    closed = headers["insights/windowClosed-minute-20260101T0900Z@1"]
    assert int(closed[CAUSATION_DEPTH]) == int(headers[closed[CAUSATION_ID]][CAUSATION_DEPTH]) + 1
    shop.advance(hours=1)
    assert windows(shop) == ["minute-20260101T0900Z", "hour-20260101T0900Z"]


def test_a_rebuild_closes_the_windows_of_a_quiet_shop_where_they_were_closed(shop: Simulation) -> None:
    """An event that came too late for the closed window is too late in the rebuild, too."""
    query = "SELECT key, sequence, row FROM v_figures_per_minute UNION ALL SELECT place, number, what FROM flow_counts"
    order_now(shop, "o-1")
    shop.advance(minutes=2)
    (placed,) = [event for event in shop.events("o-1") if event.type == "OrderPlaced"]
    said = {MSG_ID: "ordering/order-o-2@1", OCCURRED_AT: "2026-01-01T09:00:30.000000Z"}
    shop.publish("evt.ordering.OrderPlaced.o-2", placed.body.replace(b"o-1", b"o-2"), said)
    shop.run_until_quiet()
    rows, closed = shop.rows("insights-analytics", query), windows(shop)
    assert ("figures_per_minute/2", 1, "late") in rows
    shop.kill("insights")
    for file in shop.directory.glob("insights-analytics.db*"):
        file.unlink()
    shop.start("insights")
    shop.run_until_quiet()
    assert shop.rows("insights-analytics", query) == rows
    shop.advance(hours=2)
    assert windows(shop) == [*closed, "hour-20260101T0900Z"]


def test_a_rebuild_says_nothing_again_and_what_the_stream_lacks_once(shop: Simulation) -> None:
    """F26: ids follow from the stream, and insights hears its own events."""
    order_now(shop, "o-1")
    shop.advance(minutes=2)
    order_now(shop, "o-2")
    (said,) = windows(shop)
    shop.kill("insights")
    shop.advance(hours=1)  # Longer than the broker remembers ids.
    for file in shop.directory.glob("insights-analytics.db*"):
        file.unlink()
    order_now(shop, "o-3")
    shop.start("insights")
    shop.run_until_quiet()
    assert sorted(windows(shop)) == sorted({*windows(shop)})
    assert said in windows(shop)
    assert len(windows(shop)) == 3  # The minute of o-2 and the first hour were closed by o-3, while insights was dead.


def test_support_has_a_ticket_of_an_article_that_runs_out_until_an_operator_closes_it(shop: Simulation) -> None:
    """P57, of an article that runs short."""
    for hour in range(3):
        order_now(shop, f"o-{hour}", quantity=30)
        shop.advance(hours=1)
    assert shop.facts("mug", of="insights") == ["StockLow"]
    opened = shop.content("mug", "TicketOpened")
    assert (opened["case"], "units are left" in opened["why"]) == ("stock_low", True)
    (letter,) = (shop.directory / "mail").glob("ticket-mug-stock_low-1.eml")
    assert "Article mug needs you: stock_low" in letter.read_text()
    shop.send(ResolveTicket(case="stock_low", note="bought in"), key="mug")
    shop.run_until_quiet()
    assert "TicketResolved" in shop.facts("mug", of="support")
    assert shop.facts("mug", of="notifications") == []
