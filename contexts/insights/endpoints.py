"""The queries of insights: `nats req api.insights.Order '{"order_id": "o-42"}'`.

Each answer has `as_of`, the sequence and time of EVENTS that it knows. `at_least` in a query waits for a sequence.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from contexts.kernel import CustomerId, OrderId, Sku
from shared.readside.views import PAGE_AT_MOST, Asked, Page, Query, UnknownRowError, View
from shared.wire.messages import rfc3339

Limit = Annotated[int, Meta(ge=1, le=PAGE_AT_MOST)]
After = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time = Annotated[datetime, Meta(tz=True)]
ORDERS_OF_A_CUSTOMER = 50


class OrderAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One order."""

    order_id: OrderId


class OrdersAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders, newest first: of a customer, in a state, with an article, placed from `since` and before `until`.

    `after` is that of the page before.
    """

    customer_id: CustomerId | None = None
    state: str | None = None
    sku: Sku | None = None
    since: Time | None = None
    until: Time | None = None
    after: After | None = None
    limit: Limit = 50


class CustomerAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer, with their latest orders."""

    customer_id: CustomerId


class StockAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An article; all of them, a page at a time, without `sku`."""

    sku: Sku | None = None
    after: After | None = None
    limit: Limit = 50


class PaymentAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The payment of an order."""

    order_id: OrderId


class SearchAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders that have all these words, or words that begin with them: who ordered, what, and where it went."""

    text: Annotated[str, Meta(min_length=1, max_length=200)]
    after: After | None = None
    limit: Limit = 50


def order(asked: OrderAsked, view: View) -> Mapping[str, Any]:
    """One order."""
    return {"order": _found(view, "orders", asked.order_id, "order")}


def orders(asked: OrdersAsked, view: View) -> Mapping[str, Any]:
    """A page of orders."""
    between = [None if one is None else rfc3339(one) for one in (asked.since, asked.until)]
    return _listed(
        "orders",
        view.page(
            "orders",
            where={"customer_id": asked.customer_id, "state": asked.state, "sku": asked.sku},
            since=("placed_at", between[0], between[1]),
            after=asked.after,
            at_most=asked.limit,
        ),
    )


def customer(asked: CustomerAsked, view: View) -> Mapping[str, Any]:
    """A customer and a first page of their orders."""
    found = _found(view, "customers", asked.customer_id, "customer")
    page = view.page("orders", where={"customer_id": asked.customer_id}, at_most=ORDERS_OF_A_CUSTOMER)
    return {"customer": found, **_listed("orders", page)}


def stock(asked: StockAsked, view: View) -> Mapping[str, Any]:
    """An article, or a page of them."""
    if asked.sku is not None:
        return {"stock": _found(view, "stock", asked.sku, "article")}
    return _listed("stock", view.page("stock", after=asked.after, at_most=asked.limit))


def payment(asked: PaymentAsked, view: View) -> Mapping[str, Any]:
    """The payment of an order."""
    return {"payment": _found(view, "payments", asked.order_id, "payment of an order")}


def search(asked: SearchAsked, view: View) -> Mapping[str, Any]:
    """A page of the orders that are found."""
    return _listed("orders", view.search("orders", asked.text, after=asked.after, at_most=asked.limit))


QUERIES: tuple[Query, ...] = (
    Query(name="Order", request=OrderAsked, answer=order),
    Query(name="Orders", request=OrdersAsked, answer=orders),
    Query(name="Customer", request=CustomerAsked, answer=customer),
    Query(name="Stock", request=StockAsked, answer=stock),
    Query(name="Payment", request=PaymentAsked, answer=payment),
    Query(name="Search", request=SearchAsked, answer=search),
)


class FiguresAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Orders, revenue and cancellations per minute or hour, the newest first; `after` is that of the page before."""

    per: Literal["minute", "hour"] = "hour"
    since: Time | None = None
    until: Time | None = None
    after: After | None = None
    limit: Limit = 60


class LeadTimesAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long orders took for each step, per hour, the newest first."""

    step: Literal["placed_to_paid", "paid_to_shipped", "shipped_to_delivered"] | None = None
    after: After | None = None
    limit: Limit = 60


class ForecastAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When an article runs out."""

    sku: Sku


class CountsAsked(Asked, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many records came too late for their window, or found no partner."""


def figures(asked: FiguresAsked, view: View) -> Mapping[str, Any]:
    """A page of figures."""
    between = [None if one is None else rfc3339(one) for one in (asked.since, asked.until)]
    table = f"figures_per_{asked.per}"
    since = ("begins_at", between[0], between[1])
    return _listed("figures", view.page(table, since=since, after=asked.after, at_most=asked.limit))


def lead_times(asked: LeadTimesAsked, view: View) -> Mapping[str, Any]:
    """A page of lead times."""
    where = {"step": asked.step}
    return _listed("lead_times", view.page("lead_times", where=where, after=asked.after, at_most=asked.limit))


def forecast(asked: ForecastAsked, view: View) -> Mapping[str, Any]:
    """The forecast of an article."""
    return {"forecast": _found(view, "forecasts", asked.sku, "article")}


def counts(_: CountsAsked, view: View) -> Mapping[str, Any]:
    """The records that no window and no join could take."""
    return {"counts": [one._asdict() for one in view.counts()]}


FIGURE_QUERIES: tuple[Query, ...] = (
    Query(name="Figures", request=FiguresAsked, answer=figures),
    Query(name="LeadTimes", request=LeadTimesAsked, answer=lead_times),
    Query(name="Forecast", request=ForecastAsked, answer=forecast),
    Query(name="Counts", request=CountsAsked, answer=counts),
)


def _found(view: View, table: str, key: str, named: str) -> Any:
    row = view.row(table, key)
    if row is None:
        raise UnknownRowError(f"no {named} {key[:80]!r} is known")
    return row


def _listed(name: str, page: Page) -> Mapping[str, Any]:
    return {name: page.rows, "after": page.after}
