"""Insights as one value: its groups, each a process of its own."""

from collections.abc import Iterator

from contexts.insights.endpoints import FIGURE_QUERIES, QUERIES
from contexts.insights.projections import CUSTOMERS, ORDERS, PAYMENTS, STOCK
from contexts.insights.settings import InsightsSettings, forwarded
from contexts.insights.topologies import topologies
from shared.readside.group import Forwards, Group, ReadSide


def read_side(settings: InsightsSettings) -> ReadSide:
    """The read side of the shop."""
    projection = Group(
        name="projection",
        tables=(ORDERS, CUSTOMERS, STOCK, PAYMENTS),
        queries=QUERIES,
        requires_actor=settings.require_actor,
    )
    analytics = Group(
        name="analytics",
        topologies=topologies(settings.stock_low_within),
        queries=FIGURE_QUERIES,
        version=2,
        requires_actor=settings.require_actor,
    )
    return ReadSide(name="insights", groups=(projection, analytics, *_integration(settings)))


def _integration(settings: InsightsSettings) -> Iterator[Group]:
    """The group that forwards events; there is none without an endpoint."""
    if settings.forward_url is None:
        return
    yield Group(
        name="integration",
        forwards=Forwards(
            events=forwarded(settings.forward_events),
            url=settings.forward_url,
            secret=settings.forward_secret,
            timeout_s=settings.effect_timeout.total_seconds(),
            since=settings.forward_since,
        ),
    )
