"""The topologies of insights: figures per minute and hour, lead times of orders, and when articles run out.

Pure: no I/O, clock, randomness or logging. Time is the time at which events occurred.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import exp, log
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from contexts.insights.events import Cancelled, StockLow, WindowClosed
from contexts.insights.upstream import (
    OrderCancelled,
    OrderDelivered,
    OrderPlaced,
    OrderShipped,
    PaymentRefunded,
    PaymentSucceeded,
    StockLevelChanged,
)
from contexts.kernel import Money, Sku
from shared.readside.dataflow import (
    Aggregated,
    Joined,
    KeyBy,
    Record,
    Says,
    Sink,
    Topology,
    Window,
    merged,
    source,
)
from shared.readside.sketch import Quantiles
from shared.readside.views import Table

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
JOINED_WITHIN: Final = timedelta(days=30)
"""An order that takes longer between two steps is counted as unmatched."""
OBSERVED_AT_LEAST: Final = HOUR
"""A forecast needs sales of an hour: the first order of the day says nothing about the day."""
HALF_LIFE: Final = DAY
"""Sales of a day ago count half as much as those of now."""
DAYS_AT_MOST: Final = 3650
"""An article that lasts longer does not run out."""


class Figures(Struct, frozen=True, kw_only=True):
    """The shop in a window; money in minor units by currency, cancelled orders by reason."""

    orders: int = 0
    revenue: dict[str, int] = {}
    refunded: dict[str, int] = {}
    cancelled: dict[str, int] = {}


class FiguresRow(Struct, frozen=True, kw_only=True):
    """The figures of a minute or an hour; they may change until they are `final`."""

    begins_at: datetime
    ends_at: datetime
    final: bool
    figures: Figures


class LeadTimeRow(Struct, frozen=True, kw_only=True):
    """How long orders took for one step, in seconds, of those that completed it in this hour."""

    begins_at: datetime
    step: str
    orders: int
    p50_s: float
    p99_s: float
    final: bool


class Forecast(Struct, frozen=True, kw_only=True):
    """How fast an article leaves the shelf; `sold` is weighted, so that old sales count less."""

    available: int = 0
    sold: float = 0.0
    first_sold_at: datetime | None = None
    at: datetime | None = None
    is_low: bool = False
    number: int = 0
    is_new: bool = False
    """Whether the article has just become low."""

    @property
    def per_day(self) -> float:
        """Units a day."""
        return self.sold * log(2) / (HALF_LIFE / DAY)

    @property
    def runs_out_at(self) -> datetime | None:
        """When the shelf is empty, if sales go on; None where too little was sold to tell."""
        if self.at is None or self.first_sold_at is None or self.at - self.first_sold_at < OBSERVED_AT_LEAST:
            return None
        if self.available >= self.per_day * DAYS_AT_MOST:
            return None
        return self.at + timedelta(days=self.available / self.per_day)


class ForecastRow(Struct, frozen=True, kw_only=True):
    """An article, its sales, and when it runs out."""

    sku: str
    available: int
    units_per_day: int
    runs_out_at: datetime | None
    is_low: bool
    at: datetime


def count(figures: Figures, record: Record) -> Figures:
    """The figures after one more event."""
    match record.value:
        case OrderPlaced():
            return replace(figures, orders=figures.orders + 1)
        case OrderCancelled(reason=reason):
            return replace(figures, cancelled=_plus(figures.cancelled, reason, 1))
        case PaymentSucceeded(amount=amount):
            return replace(figures, revenue=_plus(figures.revenue, amount.currency, amount.amount_minor))
        case PaymentRefunded(amount=amount):
            return replace(figures, refunded=_plus(figures.refunded, amount.currency, amount.amount_minor))
        case _:
            raise AssertionError(record.value)


def closed(record: Record) -> WindowClosed | None:
    """The event about a window, once it is final."""
    if not record.final or record.start is None or record.end is None:
        return None
    figures: Figures = record.value
    return WindowClosed(
        window_id=f"{record.key}-{record.start:%Y%m%dT%H%MZ}",
        begins_at=record.start,
        ends_at=record.end,
        orders=figures.orders,
        revenue=_money(figures.revenue),
        refunded=_money(figures.refunded),
        cancelled=tuple(Cancelled(reason=reason, orders=n) for reason, n in sorted(figures.cancelled.items())),
    )


def figures_row(record: Record, _: FiguresRow | None) -> FiguresRow:
    """The row of a window."""
    assert record.start is not None, record
    assert record.end is not None, record
    return FiguresRow(begins_at=record.start, ends_at=record.end, final=record.final, figures=record.value)


def lead_time_row(record: Record, _: LeadTimeRow | None) -> LeadTimeRow:
    """The row of a step in an hour."""
    assert record.start is not None, record
    times: Quantiles = record.value
    return LeadTimeRow(
        begins_at=record.start,
        step=record.key,
        orders=times.count,
        p50_s=round(times.at(0.5) or 0.0, 3),
        p99_s=round(times.at(0.99) or 0.0, 3),
        final=record.final,
    )


def forecast_row(record: Record, _: ForecastRow | None) -> ForecastRow:
    """The row of an article."""
    forecast: Forecast = record.value
    return ForecastRow(
        sku=record.key,
        available=forecast.available,
        units_per_day=round(forecast.per_day),
        runs_out_at=forecast.runs_out_at,
        is_low=forecast.is_low,
        at=record.at,
    )


def seconds_between(left: Record, right: Record) -> float:
    """The time between two events of one key; no less than nothing, because clocks differ."""
    return max((right.at - left.at).total_seconds(), 0.0)


def low(record: Record) -> StockLow | None:
    """The event about an article that has just become low."""
    forecast: Forecast = record.value
    if not forecast.is_new or forecast.runs_out_at is None:
        return None
    return StockLow(
        sku=Sku(record.key),
        available=forecast.available,
        units_per_day=round(forecast.per_day),
        runs_out_at=forecast.runs_out_at,
        number=forecast.number,
    )


FIGURES_PER_MINUTE = Table(name="figures_per_minute", row=FiguresRow, columns=("begins_at",))
FIGURES_PER_HOUR = Table(name="figures_per_hour", row=FiguresRow, columns=("begins_at",))
LEAD_TIMES = Table(name="lead_times", row=LeadTimeRow, columns=("step", "begins_at"))
FORECASTS = Table(name="forecasts", row=ForecastRow)


def figures(name: str, size: timedelta, table: Table) -> Topology:
    """The figures of the shop in windows of this size."""
    heard = merged(
        source("ordering", OrderPlaced, OrderCancelled), source("payments", PaymentSucceeded, PaymentRefunded)
    )
    return (
        heard
        | KeyBy(lambda _: name)
        | Window(size)
        | Aggregated(Figures, count)
        | Sink(table, figures_row, key=lambda record: f"{record.start:%Y%m%dT%H%MZ}")
        | Says(WindowClosed, key="window_id", event=closed)
    ).named(f"figures_per_{name}")


def lead_time(step: str, begins: Topology, ends: Topology, types: tuple[type[Struct], type[Struct]]) -> Topology:
    """How long orders take from one event to another, per hour."""
    return (
        begins
        | Joined(ends, within=JOINED_WITHIN, types=types, combine=seconds_between)
        | KeyBy(lambda _: step)
        | Window(HOUR)
        | Aggregated(Quantiles, lambda times, record: times.with_number(record.value))
        | Sink(LEAD_TIMES, lead_time_row, key=lambda record: f"{record.start:%Y%m%dT%H%MZ}-{record.key}")
    ).named(step)


def forecasts(low_within: timedelta) -> Topology:
    """When articles run out; one that does so within this time is low."""

    def forecast(before: Forecast, record: Record) -> Forecast:
        level: StockLevelChanged = record.value
        age = timedelta(0) if before.at is None else max(record.at - before.at, timedelta(0))
        left = max(before.available - level.available, 0)
        sold_now = before.at is not None and left > 0
        now = replace(
            before,
            available=level.available,
            sold=before.sold * exp(-log(2) * (age / HALF_LIFE)) + (left if sold_now else 0),
            first_sold_at=before.first_sold_at or (record.at if sold_now else None),
            at=record.at,
        )
        runs_out_at = now.runs_out_at
        is_low = runs_out_at is not None and runs_out_at - record.at < low_within
        is_new = is_low and not before.is_low
        return replace(now, is_low=is_low, is_new=is_new, number=before.number + is_new)

    return (
        source("inventory", StockLevelChanged)
        | Aggregated(Forecast, forecast)
        | Sink(FORECASTS, forecast_row)
        | Says(StockLow, key="sku", event=low, number=lambda event: event.number)
    ).named("forecasts")


def topologies(low_within: timedelta) -> tuple[Topology, ...]:
    """All topologies of the group."""
    placed, paid = source("ordering", OrderPlaced), source("payments", PaymentSucceeded)
    shipped, delivered = source("shipping", OrderShipped), source("shipping", OrderDelivered)
    return (
        figures("minute", MINUTE, FIGURES_PER_MINUTE),
        figures("hour", HOUR, FIGURES_PER_HOUR),
        lead_time("placed_to_paid", placed, paid, (OrderPlaced, PaymentSucceeded)),
        lead_time("paid_to_shipped", paid, shipped, (PaymentSucceeded, OrderShipped)),
        lead_time("shipped_to_delivered", shipped, delivered, (OrderShipped, OrderDelivered)),
        forecasts(low_within),
    )


def _plus(sums: Mapping[str, int], name: str, number: int) -> dict[str, int]:
    return {**sums, name: sums.get(name, 0) + number}


def _money(sums: Mapping[str, int]) -> tuple[Money, ...]:
    return tuple(Money(amount_minor=amount, currency=currency) for currency, amount in sorted(sums.items()))
