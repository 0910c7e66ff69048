"""The topologies of insights: windows in event time, joins, forecasts, and the events that follow from them."""

from datetime import UTC, datetime

from msgspec import Struct

from contexts.insights.events import Cancelled, StockLow, WindowClosed
from contexts.insights.topologies import DAY, FIGURES_PER_MINUTE, MINUTE, Figures, figures, forecasts, lead_time
from contexts.insights.upstream import (
    OrderCancelled,
    OrderPlaced,
    PaymentSucceeded,
    StockItemRegistered,
    StockLevelChanged,
)
from contexts.kernel import Address, CustomerId, Money, OrderId, PaymentId, Sku
from shared.readside.dataflow import Aggregated, Filter, KeyBy, Lookup, Map, Record, Says, Sink, source
from shared.readside.views import Table
from shared.simulation.flows import Flow

AT = datetime(2026, 11, 28, 9, tzinfo=UTC)
EUR = Money(amount_minor=500)
PER_MINUTE = figures("minute", MINUTE, FIGURES_PER_MINUTE)
PLACED, PAID = source("ordering", OrderPlaced), source("payments", PaymentSucceeded)
PLACED_TO_PAID = lead_time("placed_to_paid", PLACED, PAID, (OrderPlaced, PaymentSucceeded))


def placed(key: str = "o-1") -> OrderPlaced:
    return OrderPlaced(
        order_id=OrderId(key),
        customer_id=CustomerId("c-1"),
        email="ann@example.com",
        lines=(),
        total=EUR,
        address=Address(street="Hauptstr. 1", city="Bern", country="CH", postal_code="3000"),
    )


def paid(key: str = "o-1") -> PaymentSucceeded:
    return PaymentSucceeded(order_id=OrderId(key), payment_id=PaymentId("p-1"), amount=EUR)


def level(available: int) -> StockLevelChanged:
    return StockLevelChanged(sku=Sku("mug"), on_hand=available, reserved=0, available=available)


def test_a_window_is_counted_and_closes_once_its_grace_is_over() -> None:
    flow = Flow(PER_MINUTE)
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:10Z")
    flow.hear("payments", paid(), "o-1", at="2026-11-28T09:00:20Z")
    flow.hear("ordering", placed("o-2"), "o-2", at="2026-11-28T09:01:29Z")
    row = flow.rows("figures_per_minute")["20261128T0900Z"]
    assert (row["figures"]["orders"], row["figures"]["revenue"], row["final"]) == (1, {"EUR": 500}, False)
    assert flow.said == []
    flow.hear("ordering", placed("o-3"), "o-3", at="2026-11-28T09:01:30Z")
    assert flow.rows("figures_per_minute")["20261128T0900Z"]["final"]
    (closed,) = flow.said
    assert isinstance(closed, WindowClosed)
    assert (closed.window_id, closed.orders, closed.revenue) == ("minute-20261128T0900Z", 1, (EUR,))


def test_a_late_event_corrects_the_window_within_its_grace_and_is_counted_after_it() -> None:
    flow = Flow(PER_MINUTE)
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:10Z")
    flow.hear("ordering", placed("o-2"), "o-2", at="2026-11-28T09:01:20Z")
    flow.hear("ordering", OrderCancelled(order_id=OrderId("o-1"), reason="customer"), "o-1", at="2026-11-28T09:00:50Z")
    assert flow.rows("figures_per_minute")["20261128T0900Z"]["figures"]["cancelled"] == {"customer": 1}
    flow.hear("ordering", placed("o-3"), "o-3", at="2026-11-28T09:02:00Z")
    flow.hear("ordering", placed("o-4"), "o-4", at="2026-11-28T09:00:59Z")
    assert flow.rows("figures_per_minute")["20261128T0900Z"]["figures"]["orders"] == 1
    assert [*flow.counts.values()] == [1]
    (closed,) = flow.said
    assert isinstance(closed, WindowClosed)
    assert closed.cancelled == (Cancelled(reason="customer", orders=1),)


def test_a_join_gives_the_time_between_two_events_in_either_order() -> None:
    flow = Flow(PLACED_TO_PAID)
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:00Z")
    flow.hear("payments", paid(), "o-1", at="2026-11-28T09:00:04Z")
    flow.hear("payments", paid("o-2"), "o-2", at="2026-11-28T09:00:12Z")
    flow.hear("ordering", placed("o-2"), "o-2", at="2026-11-28T09:00:10Z")
    (row,) = flow.rows("lead_times").values()
    assert (row["step"], row["orders"], row["p50_s"], row["p99_s"]) == ("placed_to_paid", 2, 3.0, 3.98)


def test_clocks_that_differ_make_no_lead_time_negative() -> None:
    flow = Flow(PLACED_TO_PAID)
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:04Z")
    flow.hear("payments", paid(), "o-1", at="2026-11-28T09:00:00Z")
    (row,) = flow.rows("lead_times").values()
    assert row["p50_s"] == 0.0


def test_a_join_takes_no_partner_from_before_its_time() -> None:
    flow = Flow(PLACED_TO_PAID)
    flow.hear("payments", paid(), "o-1", at="2026-11-28T09:00:00Z")
    flow.hear("ordering", placed(), "o-1", at="2026-10-01T09:00:00Z")
    assert flow.rows("lead_times") == {}
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T08:59:00Z")
    (row,) = flow.rows("lead_times").values()
    assert (row["orders"], row["p50_s"]) == (1, 60.0)
    assert list(flow.counts.values()) == [1]


def test_a_join_reports_an_event_that_found_no_partner_in_time() -> None:
    flow = Flow(PLACED_TO_PAID)
    flow.hear("ordering", placed(), "o-1", at="2026-10-01T09:00:00Z")
    flow.hear("payments", paid("o-2"), "o-2", at="2026-10-02T09:00:00Z")
    flow.hear("ordering", placed("o-3"), "o-3", at="2026-11-28T09:00:00Z")
    assert [(place.partition(" ")[2], number) for place, number in flow.counts.items()] == [
        ("unmatched left", 1),
        ("unmatched right", 1),
    ]


def test_an_article_that_runs_out_within_a_day_is_low_once_until_there_is_enough_again() -> None:
    flow = Flow(forecasts(DAY))
    for hour, available in enumerate((100, 70, 40)):
        flow.hear("inventory", level(available), "mug", at=f"2026-11-28T{9 + hour:02}:00:00Z")
    (low,) = flow.said
    assert isinstance(low, StockLow)
    assert (low.sku, low.available, low.number) == ("mug", 40, 1)
    flow.hear("inventory", level(30), "mug", at="2026-11-28T12:00:00Z")
    assert len(flow.said) == 1
    flow.hear("inventory", level(1000), "mug", at="2026-11-28T13:00:00Z")
    assert not flow.rows("forecasts")["mug"]["is_low"]
    flow.hear("inventory", level(20), "mug", at="2026-11-28T14:00:00Z")
    assert [one.number for one in flow.said if isinstance(one, StockLow)] == [1, 2]


def test_a_first_sale_says_nothing_about_the_day() -> None:
    flow = Flow(forecasts(DAY))
    flow.hear("inventory", level(10), "mug", at="2026-11-28T09:00:00Z")
    flow.hear("inventory", level(1), "mug", at="2026-11-28T09:30:00Z")
    assert flow.rows("forecasts")["mug"] == {
        "sku": "mug", "available": 1, "units_per_day": 6, "runs_out_at": None, "is_low": False,
        "at": "2026-11-28T09:30:00Z",
    }  # fmt: skip
    assert flow.said == []


def test_sales_of_years_ago_say_nothing_about_today() -> None:
    flow = Flow(forecasts(DAY))
    for at, available in (("2016-01-01T00:00:00Z", 10), ("2016-01-01T02:00:00Z", 9), ("2026-01-01T00:00:00Z", 9)):
        flow.hear("inventory", level(available), "mug", at=at)
    assert (flow.poison, flow.rows("forecasts")["mug"]["runs_out_at"]) == ([], None)


def test_an_event_that_a_stage_cannot_take_is_set_aside_and_the_others_flow() -> None:
    def half(row: object, record: Record) -> object:
        if record.key == "o-2":
            raise ZeroDivisionError("nothing to divide by")
        return row

    flow = Flow((source("ordering", OrderPlaced) | Aggregated(Figures, half)).named("half"))
    for key in ("o-1", "o-2", "o-3"):
        flow.hear("ordering", placed(key), key, at="2026-11-28T09:00:00Z")
    assert flow.poison == ["topology: ZeroDivisionError: nothing to divide by"]


def test_an_event_that_one_topology_cannot_take_reaches_the_others() -> None:
    def broken(_: object, __: Record) -> object:
        raise ZeroDivisionError

    flow = Flow((source("ordering", OrderPlaced) | Aggregated(Figures, broken)).named("broken"), PER_MINUTE)
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:00Z")
    assert flow.rows("figures_per_minute")["20261128T0900Z"]["figures"]["orders"] == 1


def test_a_window_that_cannot_be_closed_stops_no_event() -> None:
    def broken(record: Record) -> None:
        if record.final:
            raise ZeroDivisionError("nothing to divide by")

    flow = Flow((PER_MINUTE | Says(WindowClosed, key="window_id", event=broken)).named("broken"))
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:00Z")
    flow.hear("ordering", placed("o-2"), "o-2", at="2026-11-28T09:05:00Z")
    assert flow.poison == ["topology: ZeroDivisionError: nothing to divide by"]
    assert flow.rows("figures_per_minute")["20261128T0905Z"]["figures"]["orders"] == 1


def test_an_event_whose_key_no_subject_can_have_is_not_said() -> None:
    def of_two_words(_: Record) -> StockLow:
        return StockLow(sku=Sku("two words"), available=1, units_per_day=1, runs_out_at=AT, number=1)

    flow = Flow((source("ordering", OrderPlaced) | Says(StockLow, key="sku", event=of_two_words)).named("words"))
    flow.hear("ordering", placed(), "o-1", at="2026-11-28T09:00:00Z")
    assert (flow.said, len(flow.poison), "'two words' is not a key" in flow.poison[0]) == ([], 1, True)


class Ordered(Struct, frozen=True):
    """A row for the test below."""

    key: str
    units: int
    name: str


def test_a_topology_filters_maps_and_looks_up_rows_of_other_topologies() -> None:
    names = Table(name="names", row=Ordered)
    sold = Table(name="sold", row=Ordered)
    named = source("inventory", StockItemRegistered) | Sink(names, lambda one, _: Ordered(one.key, 0, one.value.name))
    counted = (
        source("inventory", StockLevelChanged)
        | Filter(lambda level: level.available < 5)
        | Map(lambda level: (level.sku, level.available))
        | KeyBy(lambda pair: pair[0])
        | Lookup("names", Ordered, lambda pair: pair[0], lambda pair, row: (pair[1], "" if row is None else row.name))
        | Sink(sold, lambda one, _: Ordered(one.key, *one.value))
    )
    flow = Flow(named.named("named"), counted.named("counted"))
    registered = StockItemRegistered(sku=Sku("mug"), name="A mug", unit_price=EUR)
    flow.hear("inventory", registered, "mug", at="2026-11-28T09:00:00Z")
    for available in (9, 4):
        flow.hear("inventory", level(available), "mug", at="2026-11-28T09:00:00Z")
    assert flow.rows("sold") == {"mug": {"key": "mug", "units": 4, "name": "A mug"}}
